package runtime_test

import (
	"bytes"
	"fmt"
	"maps"
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
	call runtime.Attention
	lse  int // bytes
}

// untouched fills what a launch must leave alone.
const untouched = 0x5a

func (w *weighed) onDevice(t *testing.T) *onDevice {
	in := w.in
	d := &onDevice{w, t, runtime.Attention{Batch: in.Batch, QHeads: in.QHeads, KVHeads: in.KVHeads, SeqQ: in.SeqQ, SeqK: in.SeqK,
		QOffset: in.QOffset, HeadParams: w.budgets, Params: w.params()}, 4 * in.Batch * in.QHeads * in.SeqQ}
	d.call.Q.Ptr, d.call.K.Ptr, d.call.V.Ptr = d.upload(in.Q), d.upload(in.K), d.upload(in.V)
	d.call.O.Ptr, d.call.LSE = d.upload(make([]byte, len(in.Q))), d.upload(make([]byte, d.lse))
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
	require.NoError(d.t, d.dev.Fill(d.call.O.Ptr, untouched, int64(len(d.in.Q)), nil))
	require.NoError(d.t, d.dev.Fill(d.call.LSE, untouched, int64(d.lse), nil))
}

// launch runs the heads that take part, in a workspace that nothing was written to, and returns what they chose.
func (d *onDevice) launch(heads []bool, run func(a runtime.Attention) error) []runtime.Chosen {
	a := d.call
	a.Heads = heads
	var err error
	a.WorkspaceBytes, err = d.kernel.Workspace(a)
	require.NoError(d.t, err)
	if a.WorkspaceBytes > 0 {
		a.Workspace, err = d.dev.Alloc(a.WorkspaceBytes)
		require.NoError(d.t, err)
	}
	require.NoError(d.t, run(a))
	chosen, err := d.kernel.ReadChosen(d.dev, nil, a)
	require.NoError(d.t, err)
	return chosen
}

func (d *onDevice) whole(a runtime.Attention) error { return d.kernel.Launch(nil, a) }

// results are O and LSE of each head, one behind the other.
func (d *onDevice) results() (out [][]byte) {
	o, lse := make([]byte, len(d.in.Q)), make([]byte, d.lse)
	require.NoError(d.t, d.dev.CopyToHost(o, d.call.O.Ptr, nil))
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
	for _, name := range []string{"vertical_slash", "block_sparse", "cut", "spread", "shares"}[:campaign.Few(1, 5)] {
		for _, target := range compile.Targets() {
			t.Run(fmt.Sprint(name, target), func(t *testing.T) {
				w := newWeighed(t, name, target, qkv.Shape{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 300, SeqK: 340, QOffset: 40, HeadDim: 16})
				w.kernel.PriceLists(440, 530, 620)
				d := w.onDevice(t)
				for _, noFallback := range []bool{true, false} {
					d.call.NoFallback = noFallback
					testTakePart(t, d, []bool{true, false, false, true}, []bool{false, true, false, false})
				}
			})
		}
	}
}

func testTakePart(t *testing.T, d *onDevice, masks ...[]bool) {
	d.clear()
	all := d.launch(nil, d.whole)
	want := d.results()
	for _, mask := range masks {
		testMask(t, d, mask, all, want)
	}
}

func testMask(t *testing.T, d *onDevice, mask []bool, all []runtime.Chosen, want [][]byte) {
	d.clear()
	chosen := d.launch(mask, d.whole)
	part := d.results()
	rest := make([]bool, len(mask))
	for h, m := range mask {
		rest[h] = !m
	}
	chosenRest := d.launch(rest, d.whole)
	require.Equal(t, want, d.results(), "both launches together")
	for h := range part {
		mine, others := chosen[h], chosenRest[h]
		if !mask[h%len(mask)] {
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
	w.kernel.HoldScratch(1)
	w.kernel.PriceLists(440, 530, 620)
	d := w.onDevice(t)
	mask := []bool{true, false, false, true}
	d.clear()
	chosen := d.launch(mask, d.whole)
	want := d.results()
	for _, h := range []int{1, 2} {
		require.Equal(t, bytes.Repeat([]byte{untouched}, len(want[h])), want[h], "neither kernel takes head %d", h)
	}
	d.clear()
	selections := make([]*ir.Selection, 4)
	selections[0], selections[3] = chosen[0].Asked, chosen[3].Asked
	require.NotEqual(t, chosen[0].Dense, chosen[3].Dense)
	again := d.launch(mask, func(a runtime.Attention) error {
		require.NoError(t, d.kernel.WriteChosen(d.dev, nil, a, selections))
		return d.kernel.LaunchAttention(nil, a)
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
		d.launch(nil, d.whole)
		all := maps.Clone(d.stages)
		delete(all, "store_words")
		clear(d.stages)
		d.launch([]bool{false, true, false, false}, d.whole)
		var sum, most int64
		for kernel, n := range all {
			require.Less(t, float64(d.stages[kernel]), 0.6*float64(n), "%s: %s, which may be short", name, kernel)
			sum, most = sum+d.stages[kernel], most+n
		}
		// A quarter, and what blocks of the three others need to find that out: 3% of these short calls.
		require.Less(t, float64(sum), 0.29*float64(most), name)
	}
}

func TestBadHeads(t *testing.T) {
	w := newWeighed(t, "vertical_slash", "sm_80", qkv.Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 64, SeqK: 64, HeadDim: 32})
	d := w.onDevice(t)
	a := d.call
	a.Heads = make([]bool, 3)
	err := w.kernel.Check(a)
	require.ErrorIs(t, err, device.ErrBadCall)
	require.ErrorContains(t, err, "Heads has 3 entries, want one for each of 4 query heads")

	d.clear()
	a.Heads = make([]bool, 4)
	bytesOfNone, err := w.kernel.Workspace(a)
	require.NoError(t, err)
	require.Zero(t, bytesOfNone, "no head takes part")
	require.NoError(t, w.kernel.Launch(nil, a))
	require.Empty(t, w.stages, "so nothing is launched")
}
