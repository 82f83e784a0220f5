package runtime_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

// onDevice is a call whose tensors stay on the device, so that several launches share them.
type onDevice struct {
	*weighed
	t    *testing.T
	call runtime.Call
	lse  int // bytes
}

// untouched fills what a launch must leave alone.
const untouched = 0x5a

func (w *weighed) onDevice(t *testing.T) *onDevice {
	in := w.in
	d := &onDevice{w, t, w.call(), 4 * in.Batch * in.QHeads * in.SeqQ}
	d.call.Q, d.call.K, d.call.V = d.upload(in.Q), d.upload(in.K), d.upload(in.V)
	d.call.O, d.call.LSE = d.upload(make([]byte, len(in.Q))), d.upload(make([]byte, d.lse))
	return d
}

func (d *onDevice) upload(data []byte) device.Ptr {
	p, err := d.dev.Alloc(int64(len(data)))
	require.NoError(d.t, err)
	require.NoError(d.t, d.dev.CopyToDevice(p, data, nil))
	return p
}

// clear marks the results as untouched.
func (d *onDevice) clear() {
	require.NoError(d.t, d.dev.Fill(d.call.O, untouched, int64(len(d.in.Q)), nil))
	require.NoError(d.t, d.dev.Fill(d.call.LSE, untouched, int64(d.lse), nil))
}

// launch runs some heads, or all (nil), in a workspace that nothing was written to, and returns what they chose.
func (d *onDevice) launch(heads []int, run func(p *runtime.Prepared, at runtime.Pointers) error) []runtime.Chosen {
	p, err := d.kernel.Make(d.of(heads))
	require.NoError(d.t, err)
	at := d.call.Pointers
	if at.WorkspaceBytes = p.Workspace(); at.WorkspaceBytes > 0 {
		at.Workspace, err = d.dev.Alloc(at.WorkspaceBytes)
		require.NoError(d.t, err)
	}
	require.NoError(d.t, run(p, at))
	chosen, err := p.ReadChosen(nil, at)
	require.NoError(d.t, err)
	return chosen
}

// of is the call of some heads, each with its own budgets.
func (d *onDevice) of(heads []int) runtime.Call {
	a := d.call
	if heads == nil {
		return a
	}
	a.Heads, a.HeadParams = heads, map[string][]int64{}
	for name, values := range d.call.HeadParams {
		for _, h := range heads {
			a.HeadParams[name] = append(a.HeadParams[name], values[h])
		}
	}
	return a
}

func whole(p *runtime.Prepared, at runtime.Pointers) error { return p.Run(nil, at) }

// results are O and LSE of each head, one behind the other.
func (d *onDevice) results() (out [][]byte) {
	o, lse := make([]byte, len(d.in.Q)), make([]byte, d.lse)
	require.NoError(d.t, d.dev.CopyToHost(o, d.call.O, nil))
	require.NoError(d.t, d.dev.CopyToHost(lse, d.call.LSE, nil))
	n := d.in.Batch * d.in.QHeads
	for h := range n {
		out = append(out, append(bytes.Clone(o[h*len(o)/n:][:len(o)/n]), lse[h*len(lse)/n:][:len(lse)/n]...))
	}
	return out
}

// TestHeadsTakePart: two launches that share the heads of a call give, each to its own heads, what one launch gives to all of
// them, and leave the others' results alone; with every kind of stage, with the fallback and without it.
func TestHeadsTakePart(t *testing.T) {
	for _, name := range []string{"vertical_slash", "block_sparse", "cut", "spread", "shares", "enough"}[:campaign.Few(1, 6)] {
		for _, target := range compile.Targets()[campaign.Few(1, 0):] {
			t.Run(fmt.Sprint(name, target), func(t *testing.T) {
				w := newWeighed(t, name, target, qkv.Shape{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 300, SeqK: 340, QOffset: 40, HeadDim: 16})
				w.kernel.Patterns()[0].PriceLists(440, 530, 620)
				d := w.onDevice(t)
				for _, noFallback := range []bool{true, false} {
					d.call.NoFallback = noFallback
					testTakePart(t, d, []int{0, 3}, []int{1})
				}
			})
		}
	}
}

func testTakePart(t *testing.T, d *onDevice, masks ...[]int) {
	d.clear()
	all := d.launch(nil, whole)
	want := d.results()
	for _, mask := range masks {
		testMask(t, d, mask, all, want)
	}
}

func testMask(t *testing.T, d *onDevice, mask []int, all []runtime.Chosen, want [][]byte) {
	d.clear()
	chosen := d.launch(mask, whole)
	part := d.results()
	var rest []int
	for h := range d.in.QHeads {
		if !slices.Contains(mask, h) {
			rest = append(rest, h)
		}
	}
	chosenRest := d.launch(rest, whole)
	require.Equal(t, want, d.results(), "both launches together")
	for h := range part {
		mine, others := chosen[h], chosenRest[h]
		if !slices.Contains(mask, h%d.in.QHeads) {
			require.Equal(t, bytes.Repeat([]byte{untouched}, len(part[h])), part[h], "head %d", h)
			mine, others = others, mine
		}
		require.Equal(t, runtime.Chosen{Asked: &ir.Selection{QOffset: 40}, Kept: &ir.Selection{QOffset: 40}}, others)
		require.Equal(t, all[h].Dense, mine.Dense, "head %d", h)
		if len(mine.Asked.Sets) > 0 { // else its heads were found to be dense before anything was chosen
			require.Equal(t, all[h].Asked, mine.Asked, "head %d", h)
			require.Equal(t, all[h].Kept, mine.Kept, "head %d", h)
		}
	}
}

// TestHalvesOfALaunchWithHeads: a choice that was written down serves the heads that take part, also in slices.
func TestHalvesOfALaunchWithHeads(t *testing.T) {
	w := newWeighed(t, "vertical_slash", "sm_80", qkv.Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 700, SeqK: 700, HeadDim: 64})
	w.kernel.Patterns()[0].HoldScratch(1)
	w.kernel.Patterns()[0].PriceLists(440, 530, 620)
	d := w.onDevice(t)
	mask := []int{0, 3}
	d.clear()
	chosen := d.launch(mask, whole)
	want := d.results()
	for _, h := range []int{1, 2} {
		require.Equal(t, bytes.Repeat([]byte{untouched}, len(want[h])), want[h], "neither kernel takes head %d", h)
	}
	d.clear()
	selections := make([]*ir.Selection, 4)
	selections[0], selections[3] = chosen[0].Asked, chosen[3].Asked
	require.NotEqual(t, chosen[0].Dense, chosen[3].Dense)
	again := d.launch(mask, func(p *runtime.Prepared, at runtime.Pointers) error {
		require.NoError(t, p.WriteChosen(nil, at, selections))
		return p.RunAttention(nil, at)
	})
	require.Equal(t, want, d.results())
	require.Equal(t, chosen, again)
}

// TestOthersCostNothing: the kernels do not work for heads that take no part.
func TestOthersCostNothing(t *testing.T) {
	for _, name := range []string{"vertical_slash", "block_sparse", "shares"} {
		w := newWeighed(t, name, "sm_80", qkv.Shape{Batch: 1, QHeads: 4, KVHeads: 4, SeqQ: 500, SeqK: 500, HeadDim: 32})
		w.budgets = nil // alike
		d := w.onDevice(t)
		d.call.NoFallback = true
		d.launch(nil, whole)
		all := maps.Clone(d.stages)
		delete(all, "store_words")
		clear(d.stages)
		d.launch([]int{1}, whole)
		var sum, most int64
		for kernel, n := range all {
			require.Less(t, float64(d.stages[kernel]), 0.6*float64(n), "%s: %s, which may be short", name, kernel)
			sum, most = sum+d.stages[kernel], most+n
		}
		// A quarter, and what blocks of the three others need to find that out: 3% of these short calls.
		require.Less(t, float64(sum), 0.29*float64(most), name)
	}
}

// TestPartsOfOnePattern: parts of a pattern in one call, each with a parameter of its own, give what calls with that parameter give to
// their heads, choices included. Each part has its lists in a place of its own, and one index stage after the other uses the rest.
func TestPartsOfOnePattern(t *testing.T) {
	for _, target := range compile.Targets()[:campaign.Few(1, 2)] {
		w := newWeighed(t, "columns_window", target, qkv.Shape{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 150, SeqK: 300, QOffset: 150, HeadDim: 32})
		windows, heads := []int64{70, 20}, [][]int{{0, 3}, {1, 2}}
		var parts []runtime.Part
		var alone []runtime.HostResult
		for i, window := range windows {
			params := map[string]int64{"window": window, "vertical": 40}
			parts = append(parts, runtime.Part{Heads: heads[i], Params: params})
			alone = append(alone, w.run(t, func(h *runtime.HostCall) { h.Parts, h.NoFallback = []runtime.Part{{Params: params}}, true }))
		}
		both := w.run(t, func(h *runtime.HostCall) { h.Parts, h.NoFallback = parts, true })
		for i := range heads {
			for _, h := range heads[i] {
				for batch := range w.in.Batch {
					n := batch*w.in.QHeads + h
					size := len(both.O) / (w.in.Batch * w.in.QHeads)
					require.Equal(t, alone[i].O[n*size:][:size], both.O[n*size:][:size], "%s, head %d", target, n)
					require.Equal(t, alone[i].Chosen[n], both.Chosen[n], "%s, head %d", target, n)
				}
			}
		}
	}
}
