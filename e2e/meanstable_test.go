package e2e

import (
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/ir"
)

// On keys without structure, which blocks cannot tell apart, means give back most of what dropping them loses, and the more so the fewer keys they
// are of; on no kind of head do they make the output worse. MINFC_MEANS_TABLE=32768 logs the table of docs/else-mean.md at that length.
func TestMeansGiveBackWhatIsDropped(t *testing.T) {
	n := 2048
	if os.Getenv("MINFC_MEANS_TABLE") != "" {
		asked, _ := numberOf(t, "MINFC_MEANS_TABLE")
		n = asked
	}
	for _, kind := range workload.Kinds() {
		h := newMeansHead(t, kind, n)
		without := h.errors(t, 0)
		t.Logf("%s: without %.3f, lse %.2f", kind, without.out, without.lse)
		for _, pool := range ir.PoolKeys {
			with := h.errors(t, pool)
			t.Logf("%s: mean(%d) %.3f, lse %.2f", kind, pool, with.out, with.lse)
			require.Less(t, with.lse, 1.02*without.lse+0.01, "%s, %d keys", kind, pool)
			if kind == workload.Diffuse || kind == workload.Random {
				require.Less(t, with.out, without.out/3, "%s, %d keys", kind, pool)
			}
		}
	}
}

// meansHead is a head with blocks that hold a tenth of the causal pairs, and its dense attention in some rows.
type meansHead struct {
	in       ir.Inputs[float32]
	rows     []int
	kept     func(q, k int) bool
	dense    []float64
	denseLSE []float64
}

func newMeansHead(t *testing.T, kind workload.Kind, n int) *meansHead {
	const dim = 64
	spec := workload.Spec{Kind: kind, Batch: 1, QHeads: 1, KVHeads: 1, SeqLen: n, HeadDim: dim, Seed: 1, DType: abi.BF16}
	h := &meansHead{in: ir.Inputs[float32]{B: 1, Hq: 1, Hk: 1, Sq: n, Sk: n, D: dim, Scale: 1 / math.Sqrt(dim)}}
	for tensor, to := range map[workload.Tensor]*[]float32{workload.Q: &h.in.Q, workload.K: &h.in.K, workload.V: &h.in.V} {
		raw, err := spec.Rows(tensor, 0, n)
		require.NoError(t, err)
		*to = make([]float32, n*dim)
		require.NoError(t, half.Decode(abi.BF16, *to, raw))
	}
	p := meanPattern(t, "chosen").Pattern
	values := map[string]int64{"topk": int64(max(2, n/64/19))}
	sel, err := ir.EvalIndex(p.Index, values, ir.HeadInputs[float32]{Q: h.in.Q, K: h.in.K, Sq: n, Sk: n, D: dim, Scale: h.in.Scale})
	require.NoError(t, err)
	h.kept, err = p.KeepsWith(values, sel)
	require.NoError(t, err)
	for i := range 64 { // beyond the rows that keep all
		h.rows = append(h.rows, n/4+(i+1)*(n-n/4)/64-1-i*7%(n/128))
	}
	h.in.Keep = func(q, k int) bool { return k <= q }
	h.dense, h.denseLSE, err = ir.Reference(h.in, h.rows)
	require.NoError(t, err)
	return h
}

// meanErrors are the relative L2 error of the output against dense attention, and the mean distance of the LSE.
type meanErrors struct{ out, lse float64 }

func (h *meansHead) errors(t *testing.T, pool int) (e meanErrors) {
	in := h.in
	in.Keep = h.kept
	if pool > 0 {
		in.Dropped = &ir.Dropped{Pool: pool, Keys: ir.DroppedBy(pool, h.kept, ir.Shape{Sq: in.Sq, Sk: in.Sk}), Round: half.Rounding(abi.BF16)}
	}
	out, lse, err := ir.Reference(in, h.rows)
	require.NoError(t, err)
	off, size := 0.0, 0.0
	for i, x := range h.dense {
		off, size = off+(out[i]-x)*(out[i]-x), size+x*x
	}
	for i, x := range h.denseLSE {
		e.lse += math.Abs(lse[i]-x) / float64(len(lse))
	}
	e.out = math.Sqrt(off / size)
	return e
}
