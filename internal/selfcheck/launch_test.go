package selfcheck

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
)

// computed is a launch of two heads with what the reference computes, each by its own pattern.
func computed(t *testing.T, patterns ...*ir.Pattern) Launch {
	t.Helper()
	in, err := qkv.Generate(qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 2, SeqQ: 40, SeqK: 40, HeadDim: 16}, abi.BF16, 1)
	require.NoError(t, err)
	l := Launch{In: in, Scale: 0.25, Progress: func(string) func(done, total int) { return nil }}
	values := func(raw []byte) []float32 {
		out := make([]float32, len(raw)/2)
		require.NoError(t, half.Decode(in.Format, out, raw))
		return out
	}
	for h := range in.QHeads {
		p := patterns[h%len(patterns)]
		keep, err := p.EndingAt(in.End()).Keeps(nil)
		require.NoError(t, err)
		part := func(raw []byte) []float32 { return values(raw[h*len(raw)/2:][:len(raw)/2]) }
		o, lse, err := ir.Reference(ir.Inputs[float32]{B: 1, Hq: 1, Hk: 1, Sq: in.SeqQ, Sk: in.SeqK, D: in.HeadDim, Scale: l.Scale, Keep: keep,
			Q: part(in.Q), K: part(in.K), V: part(in.V)}, every(in.SeqQ))
		require.NoError(t, err)
		narrow := make([]float32, len(o))
		for i, x := range o {
			narrow[i] = float32(x)
		}
		data, err := half.Encode(in.Format, narrow)
		require.NoError(t, err)
		l.Result.O = append(l.Result.O, data...)
		for _, x := range lse {
			l.Result.LSE = append(l.Result.LSE, float32(x))
		}
	}
	for _, p := range patterns {
		l.Heads = append(l.Heads, Head{Pattern: p})
	}
	return l
}

func every(n int) (rows []int) {
	for i := range n {
		rows = append(rows, i)
	}
	return rows
}

var (
	everyKey  = &ir.Pattern{Name: "full", Keep: ir.All{}}
	everyPast = &ir.Pattern{Name: "causal", Keep: ir.Causal{}}
)

// A head is held against its own pattern, and one that computed another is a fault of ours.
func TestHeadsAreJudgedByTheirPatterns(t *testing.T) {
	for _, patterns := range [][]*ir.Pattern{{everyKey}, {everyPast}, {everyKey, everyPast}} {
		l := computed(t, patterns...)
		v, err := l.Judge()
		require.NoError(t, err)
		require.True(t, v.Result.OK())
		require.Nil(t, v.Choices, "data decides nothing")
	}
	l := computed(t, everyKey, everyPast)
	l.Heads[0], l.Heads[1] = l.Heads[1], l.Heads[0]
	v, err := l.Judge()
	require.Equal(t, failure.ExitBug, failure.ExitCode(err))
	require.False(t, v.Result.OK())
	require.ErrorContains(t, err, "the result is wrong, worst at batch 0, head ")
}

// TestWrongResultsAreOurFault: a kernel that writes zeros must not pass the check.
func TestWrongResultsAreOurFault(t *testing.T) {
	l := computed(t, everyKey)
	clear(l.Result.O)
	v, err := l.Judge()
	require.Equal(t, failure.ExitBug, failure.ExitCode(err))
	require.Contains(t, v.Result.String(), "all 40 rows")
}

// A schedule that keeps other pairs than the pattern is found, in whichever head it is, although the results are right.
func TestListsAreHeldAgainstThePattern(t *testing.T) {
	l := computed(t, everyKey, everyPast)
	nothing := &ir.Selection{}
	l.Result.Chosen = []runtime.Chosen{{Asked: nothing, Kept: nothing}, {Asked: nothing, Kept: nothing}}
	l.Cover = func(head int, _ *runtime.Chosen, rows []int) ([]byte, error) {
		means, err := l.Heads[head].Pattern.Keeps(nil)
		out := make([]byte, l.In.SeqK)
		for k := range out {
			if means(rows[0], k) {
				out[k] = 1
			}
		}
		return out, err
	}
	_, err := l.Judge()
	require.NoError(t, err)

	good := l.Cover
	l.Cover = func(head int, c *runtime.Chosen, rows []int) ([]byte, error) {
		out, err := good(head, c, rows)
		out[0] = byte(1 - head)
		return out, err
	}
	_, err = l.Judge()
	require.EqualError(t, errors.Unwrap(err), "the lists of batch 0, head 1 keep key 0 of row 0 otherwise than the pattern means")
}
