package e2e

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// BenchmarkGiven times, on a GPU, attention over the lists that MInference's converter makes of what Vertical-Slash chose, beside the
// attention of Vertical-Slash itself without its index stage, in random order each round, in milliseconds. DIM (128) is the head dim:
//
//	go test ./e2e -run '^$' -bench Given -benchtime 15x
func BenchmarkGiven(b *testing.B) {
	dev := devicetest.GPU(b)
	dim, err := strconv.Atoi(cmp.Or(os.Getenv("DIM"), "128"))
	require.NoError(b, err)
	for _, tokens := range []int{32 << 10, 128 << 10} {
		for _, budgets := range []map[string]int64{{"vertical": 1000, "slash": 6096}, {"vertical": 3500, "slash": 100}, {"vertical": 30, "slash": 800}} {
			b.Run(fmt.Sprintf("%d/%d_%d", tokens, budgets["vertical"], budgets["slash"]), func(b *testing.B) {
				benchGiven(b, dev, tokens, dim, budgets)
			})
		}
	}
}

// givenBench is what the ways of a benchmark share.
type givenBench struct {
	*testing.B
	dev   device.Device
	heads minfc.Heads
	rows  int
	at    minfc.Pointers // of the tensors
}

func (b *givenBench) place(data []byte) device.Ptr {
	p, err := b.dev.Alloc(max(int64(len(data)), 16))
	require.NoError(b, err)
	b.Cleanup(func() { b.dev.Free(p) })
	require.NoError(b, b.dev.CopyToDevice(p, data, nil))
	return p
}

// prepare prepares a call by the code of a target and gives it a workspace.
func (b *givenBench) prepare(p *compile.Program, target string, params map[string]int64, s runtime.Shape) (*runtime.Prepared, minfc.Pointers) {
	art, err := p.Compile(compile.Options{Target: target, DType: b.heads.DType, HeadDim: b.heads.Dim}, nil)
	require.NoError(b, err)
	l, err := runtime.Load(b.dev, art, artifact.Select{})
	require.NoError(b, err)
	b.Cleanup(func() { l.Close() })
	s.Batch, s.QHeads, s.KVHeads, s.SeqQ, s.SeqK, s.NoFallback = 1, b.heads.Q, b.heads.KV, b.rows, b.rows, true
	call, err := l.Prepare(s, runtime.Part{Params: params})
	require.NoError(b, err)
	own := b.at
	own.Workspace, own.WorkspaceBytes = b.place(make([]byte, call.Workspace())), call.Workspace()
	return call, own
}

func benchGiven(t *testing.B, dev device.Device, tokens, dim int, budgets map[string]int64) {
	b := &givenBench{B: t, dev: dev, heads: minfc.Heads{Q: 8, KV: 2, Dim: dim, DType: abi.BF16}, rows: tokens}
	in, err := workload.OnDevice(dev, workload.Spec{Kind: workload.Kind(cmp.Or(os.Getenv("KIND"), "slash")), Batch: 1, QHeads: b.heads.Q,
		KVHeads: b.heads.KV, SeqLen: tokens, HeadDim: dim, Seed: 3, DType: abi.BF16}, nil)
	require.NoError(b, err)
	defer in.Close()
	b.at = minfc.Pointers{Q: in.Q, K: in.K, V: in.V, O: b.place(make([]byte, 2*b.heads.Q*dim*tokens))}
	target, _, err := compile.TargetOn(dev.Info())
	require.NoError(b, err)
	slash, err := compile.LoadLibrary("vertical_slash")
	require.NoError(b, err)
	chosen, chosenAt := b.prepare(slash, target, budgets, runtime.Shape{})
	require.NoError(b, chosen.Run(nil, chosenAt))
	all, err := chosen.ReadChosen(nil, chosenAt)
	require.NoError(b, err)
	lists, noise := listsOf(t, all, tokens), rand.New(rand.NewPCG(1, 1))
	room := runtime.Shape{SpanCap: longest(lists.spans), KeyCap: longest(lists.keys)}
	spans, spanCount := table(lists.spans, room.SpanCap, noise)
	keys, keyCount := table(lists.keys, room.KeyCap, noise)
	b.at.Spans, b.at.SpanCount, b.at.Keys, b.at.KeyCount = b.place(spans), b.place(spanCount), b.place(keys), b.place(keyCount)
	given, givenAt := b.prepare(compile.Given(true), target, nil, room)
	older, olderAt := b.prepare(compile.Given(true), "sm_80", nil, room)
	b.compare(lists, func() error { return chosen.RunAttention(nil, chosenAt) }, func() error { return given.Run(nil, givenAt) },
		func() error { return older.Run(nil, olderAt) })
}

// compare times Vertical-Slash's own attention, given lists by the newest target's code, and given lists by sm_80 code.
func (b *givenBench) compare(lists givenLists, ways ...func() error) {
	ms := make([][]float64, len(ways))
	for range b.N {
		for _, i := range rand.Perm(len(ways)) {
			ms[i] = append(ms[i], elapsed(b.B, b.dev, ways[i]))
		}
	}
	var median []float64
	for i, unit := range []string{"chosen-ms", "given-ms", "given-sm80-ms"} {
		slices.Sort(ms[i])
		median = append(median, ms[i][len(ms[i])/2])
		b.ReportMetric(median[i], unit)
	}
	spans, keys := 0, 0
	for i := range lists.spans {
		spans, keys = spans+len(lists.spans[i]), keys+(len(lists.keys[i])+ir.BlockSize-1)/ir.BlockSize
	}
	b.ReportMetric(median[1]/median[0], "given/chosen")
	b.ReportMetric(4*float64(spans+keys)*ir.BlockSize*ir.BlockSize*float64(b.heads.Dim)/1e9/median[1], "given-TFLOP/s")
	b.ReportMetric(100*float64(keys)/float64(spans+keys), "%slots-of-keys")
	b.ReportMetric(0, "ns/op")
}

// listsOf are the converter's lists of what all heads chose.
func listsOf(b *testing.B, all []runtime.Chosen, tokens int) (out givenLists) {
	for _, c := range all {
		columns, err := c.Asked.Find("cols")
		require.NoError(b, err)
		diagonals, err := c.Asked.Find("diags")
		require.NoError(b, err)
		distances := slices.Clone(diagonals.Members)
		slices.Reverse(distances)
		own := converted(columns.Members, distances, tokens, 0)
		out.spans, out.keys = append(out.spans, own.spans...), append(out.keys, own.keys...)
	}
	return out
}
