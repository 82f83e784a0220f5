package runtime_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/runtime"
)

// Who shares a call with a sequence, and where the sequence stands in it, changes neither which of its heads run dense nor a bit
// of what they give.

// sequences are calls of one batch entry each, with other data.
func sequences(t *testing.T, shape qkv.Shape, n int) (out []*qkv.Input) {
	shape.Batch = 1
	for seed := range n {
		in, err := qkv.Generate(shape, abi.BF16, uint64(5+seed))
		require.NoError(t, err)
		out = append(out, in)
	}
	return out
}

// together is the call of the sequences in an order, in which some may come again.
func together(all []*qkv.Input, order []int) *qkv.Input {
	out := &qkv.Input{Shape: all[0].Shape, Format: all[0].Format}
	out.Batch = len(order)
	for _, i := range order {
		out.Q, out.K, out.V = append(out.Q, all[i].Q...), append(out.K, all[i].K...), append(out.V, all[i].V...)
	}
	return out
}

// orders put sequences beside others, at every place.
var orders = [][]int{{1, 0}, {0, 0, 1}}

// compareBatches runs sequences alone and together; it returns how many of their heads ran dense when they were alone, and how
// many did not.
func compareBatches(t *testing.T, shape qkv.Shape, run func(in *qkv.Input) runtime.HostResult) (dense, sparse int) {
	all := sequences(t, shape, 2)
	var alone []runtime.HostResult
	for _, in := range all {
		res := run(in)
		alone = append(alone, res)
		for _, c := range res.Chosen {
			if c.Dense {
				dense++
			} else {
				sparse++
			}
		}
	}
	for _, order := range orders[:campaign.Few(1, 2)] {
		res := run(together(all, order))
		for at, i := range order {
			want, where := alone[i], fmt.Sprintf("sequence %d at place %d of %v", i, at, order)
			o, lse, heads := len(want.O), len(want.LSE), len(want.Chosen)
			require.Equal(t, want.Chosen, res.Chosen[at*heads:][:heads], where)
			require.Equal(t, want.O, res.O[at*o:][:o], where)
			require.Equal(t, want.LSE, res.LSE[at*lse:][:lse], where)
		}
	}
	return dense, sparse
}

func TestSequencesDoNotDependOnTheirBatch(t *testing.T) {
	shape := qkv.Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 70, SeqK: 800, QOffset: 730, HeadDim: 16}
	for name, routed := range map[string]bool{"vertical_slash": true, "block_sparse": true, "spread": false, "shares": false} {
		if testing.Short() && name != "vertical_slash" {
			continue
		}
		for _, target := range compile.Targets()[:campaign.Few(1, 2)] {
			t.Run(name+"/"+target, func(t *testing.T) {
				t.Parallel()
				w := newWeighed(t, name, target, shape)
				run := func(change func(h *runtime.HostCall)) func(in *qkv.Input) runtime.HostResult {
					return func(in *qkv.Input) runtime.HostResult {
						w.in = in
						return w.run(t, change)
					}
				}
				_, sparse := compareBatches(t, shape, run(nil))
				require.Zero(t, sparse, "short sequences run dense")
				w.kernel.Patterns()[0].HoldScratch(30_000) // the heads of a probe in parts
				dense, _ := compareBatches(t, shape, run(func(h *runtime.HostCall) { h.NoFallback = true }))
				require.Zero(t, dense)
				if !routed {
					return
				}
				w.kernel.Patterns()[0].PriceLists(440, 530, 620)
				dense, sparse = compareBatches(t, shape, run(nil))
				require.Positive(t, dense, "the device chooses")
				require.Positive(t, sparse, "the device chooses")
			})
		}
	}
}

// The same of a layer of several patterns, whose heads are one launch.
func TestSequencesOfLayersDoNotDependOnTheirBatch(t *testing.T) {
	if testing.Short() {
		t.Skip("five seconds of layers on the emulator")
	}
	shape := qkv.Shape{Batch: 1, QHeads: 8, KVHeads: 4, SeqQ: 70, SeqK: 800, QOffset: 730, HeadDim: 16}
	for _, target := range compile.Targets() {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			heads := mixed(t)
			compiled := group(t, target, shape.HeadDim, heads)
			g := newGrouped(t, compiled, shape, heads)
			for _, noFallback := range []bool{false, true} {
				compareBatches(t, shape, func(in *qkv.Input) runtime.HostResult {
					g.in = in
					return g.run(t, noFallback)
				})
			}
			g = newGrouped(t, compiled, shape, heads) // a layer remembers its calls with the prices that they were prepared with
			for h := range heads {
				if len(heads[h].Pattern.Index) > 0 {
					g.layer.Pattern(h).PriceLists(440, 530, 620)
				}
			}
			dense, sparse := compareBatches(t, shape, func(in *qkv.Input) runtime.HostResult {
				g.in = in
				return g.run(t, false)
			})
			require.Positive(t, dense, "the device chooses")
			require.Greater(t, sparse, 2*3, "beside heads whose patterns do not depend on data")
		})
	}
}
