package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

// BenchmarkGiven times, on a GPU, attention over the lists that MInference's converter makes of what Vertical-Slash chose, beside the
// attention of Vertical-Slash itself without its index stage, in random order each round, in milliseconds. DIM (128) is the head dim:
//
//	go test ./e2e -run '^$' -bench Given -benchtime 15x
func BenchmarkGiven(b *testing.B) {
	dev, err := device.Open("cuda", 0)
	if errors.Is(err, device.ErrNoDevice) {
		b.Skip("no GPU here: CI has none, docs/measuring.md says how to run this on one")
	}
	require.NoError(b, err)
	defer dev.Close()
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

func benchGiven(b *testing.B, dev device.Device, tokens, dim int, budgets map[string]int64) {
	heads := minfc.Heads{Q: 8, KV: 2, Dim: dim, DType: abi.BF16}
	in, err := workload.OnDevice(dev, workload.Spec{Kind: workload.Kind(cmp.Or(os.Getenv("KIND"), "slash")), Batch: 1, QHeads: heads.Q,
		KVHeads: heads.KV, SeqLen: tokens, HeadDim: dim, Seed: 3, DType: abi.BF16}, nil)
	require.NoError(b, err)
	defer in.Close()
	place := func(data []byte) device.Ptr {
		p, err := dev.Alloc(max(int64(len(data)), 16))
		require.NoError(b, err)
		b.Cleanup(func() { dev.Free(p) })
		require.NoError(b, dev.CopyToDevice(p, data, nil))
		return p
	}
	at := minfc.Pointers{Q: in.Q, K: in.K, V: in.V, O: place(make([]byte, 2*heads.Q*dim*tokens))}
	prepare := func(spec minfc.Spec, s minfc.Shape) (*minfc.Call, minfc.Pointers) {
		a, err := minfc.NewAttention(dev, spec, heads)
		require.NoError(b, err)
		b.Cleanup(func() { a.Close() })
		s.Batch, s.SeqQ, s.SeqK, s.NoFallback = 1, tokens, tokens, true
		call, err := a.Prepare(s)
		require.NoError(b, err)
		own := at
		own.Workspace, own.WorkspaceBytes = place(make([]byte, call.Workspace())), call.Workspace()
		return call, own
	}
	chosen, chosenAt := prepare(minfc.Spec{Pattern: "vertical_slash", Params: budgets}, minfc.Shape{})
	require.NoError(b, chosen.Run(nil, chosenAt))
	all, err := chosen.ReadChosen(nil, chosenAt)
	require.NoError(b, err)
	lists := listsOf(b, all, tokens)
	given, givenAt := prepare(minfc.Spec{Given: minfc.GivenCausal}, minfc.Shape{SpanCap: longest(lists.spans), KeyCap: longest(lists.keys)})
	noise := rand.New(rand.NewPCG(1, 1))
	spans, spanCount := table(lists.spans, given.Shape().SpanCap, noise)
	keys, keyCount := table(lists.keys, given.Shape().KeyCap, noise)
	givenAt.Spans, givenAt.SpanCount, givenAt.Keys, givenAt.KeyCount = place(spans), place(spanCount), place(keys), place(keyCount)

	ways := []func() error{func() error { return chosen.RunAttention(nil, chosenAt) }, func() error { return given.Run(nil, givenAt) }}
	var ms [2][]float64
	for range b.N {
		for _, i := range rand.Perm(2) {
			ms[i] = append(ms[i], elapsed(b, dev, ways[i]))
		}
	}
	for i, unit := range []string{"chosen-ms", "given-ms"} {
		slices.Sort(ms[i])
		b.ReportMetric(ms[i][len(ms[i])/2], unit)
	}
	slots := 0
	for i := range lists.spans {
		slots += len(lists.spans[i]) + (len(lists.keys[i])+ir.BlockSize-1)/ir.BlockSize
	}
	tflops := 4 * float64(slots) * ir.BlockSize * ir.BlockSize * float64(dim) / 1e9
	b.ReportMetric(ms[1][len(ms[1])/2]/ms[0][len(ms[0])/2], "given/chosen")
	b.ReportMetric(tflops/ms[1][len(ms[1])/2], "given-TFLOP/s")
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
