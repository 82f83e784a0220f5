package runtime

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/device"
)

// bytes lists every byte of a region.
func (r region) bytes() map[uint64]bool {
	out := map[uint64]bool{}
	for i := range r.dims[0].most + 1 {
		for j := range r.dims[1].most + 1 {
			for k := range r.dims[2].most + 1 {
				at := r.start + uint64(i*r.dims[0].stride+j*r.dims[1].stride+k*r.dims[2].stride)
				for b := range uint64(r.inner) {
					out[at+b] = true
				}
			}
		}
	}
	return out
}

func randomRegion(rng *rand.Rand, unit int64) region {
	dims := []step{}
	for range 3 {
		dims = append(dims, step{unit * int64(rng.IntN(12)), int64(rng.IntN(4))})
	}
	return newRegion("x", device.Ptr(1000+unit*int64(rng.IntN(60))), unit*int64(1+rng.IntN(3)), dims...)
}

// The search agrees with all bytes of both, whatever the strides.
func TestOverlapIsThatOfTheBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	apart, within := 0, 0 // cases whose ranges meet and bytes do not; and do
	for range 20000 {
		a, b := randomRegion(rng, 4), randomRegion(rng, 4)
		want, all := false, a.bytes()
		for x := range b.bytes() {
			want = want || all[x]
		}
		require.Equal(t, want, a.overlaps(&b), "%+v %+v", a, b)
		require.Equal(t, want, b.overlaps(&a), "%+v %+v", a, b)
		if a.end > b.start && b.end > a.start {
			apart, within = apart+count(!want), within+count(want)
		}
	}
	require.Greater(t, apart, 500)
	require.Greater(t, within, 500)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// packed is a call whose tensors lie in one buffer [B, S, heads, D]: Q, then K, V and O.
func packed(batch, s, hq, hk int) Call {
	const d, at = 64, device.Ptr(1 << 20)
	row := int64(2*hq+2*hk) * d
	tensor := func(head int) device.Ptr { return at + device.Ptr(elementBytes*head*d) }
	stride := Stride{Batch: row * int64(s), Head: d, Row: row}
	return Call{Shape: Shape{Batch: batch, QHeads: hq, KVHeads: hk, SeqQ: s, SeqK: s, Strides: Strides{Q: stride, K: stride, V: stride, O: stride}},
		Pointers: Pointers{Q: tensor(0), K: tensor(hq), V: tensor(hq + hk), O: tensor(hq + 2*hk), LSE: 1 << 40}}
}

func TestOverlappingTensors(t *testing.T) {
	_, k := loaded(t)
	end := func(a Call, heads, rows int) device.Ptr {
		return device.Ptr(a.Batch * heads * rows * 64 * elementBytes)
	}
	for name, c := range map[string]struct {
		change func(a *Call)
		says   string // "" if the call is good
	}{
		"apart":                {func(a *Call) {}, ""},
		"K is V":               {func(a *Call) { a.V = a.K }, ""},
		"Q is K":               {func(a *Call) { a.K = a.Q }, ""},
		"O is Q":               {func(a *Call) { a.O = a.Q }, "O overlaps Q"},
		"O is K":               {func(a *Call) { a.O = a.K }, "O overlaps K"},
		"O is V":               {func(a *Call) { a.O = a.V }, "O overlaps V"},
		"O behind Q":           {func(a *Call) { a.O = a.Q + end(*a, a.QHeads, a.SeqQ) }, ""},
		"O behind Q, too soon": {func(a *Call) { a.O = a.Q + end(*a, a.QHeads, a.SeqQ) - 16 }, "O overlaps Q"},
		"O before V":           {func(a *Call) { a.O = a.V - end(*a, a.QHeads, a.SeqQ) }, ""},
		"O before V, too late": {func(a *Call) { a.O = a.V - end(*a, a.QHeads, a.SeqQ) + 16 }, "O overlaps V"},
		"LSE in Q":             {func(a *Call) { a.LSE = a.Q + 4 }, "LSE overlaps Q"},
		"LSE at the end of K":  {func(a *Call) { a.LSE = a.K + end(*a, a.KVHeads, a.SeqK) - 4 }, "LSE overlaps K"},
		"LSE behind K":         {func(a *Call) { a.LSE = a.K + end(*a, a.KVHeads, a.SeqK) }, ""},
		"LSE in O":             {func(a *Call) { a.LSE = a.O }, "LSE overlaps O"},
		"no keys, O where K is named": {func(a *Call) {
			a.SeqK = 0
			a.O = a.K
		}, ""},
		"broadcast O": {func(a *Call) {
			a.QHeads, a.KVHeads = 2, 1
			a.Strides.O.Row = 64
		}, "O overlaps itself: its batch stride is 0"},
		"packed":                  {func(a *Call) { *a = packed(2, 37, 8, 2) }, ""},
		"packed, one batch":       {func(a *Call) { *a = packed(1, 200, 4, 4) }, ""},
		"packed, O a head early":  {func(a *Call) { *a = packed(2, 37, 8, 2); a.O -= 128 }, "O overlaps V"},
		"packed, O into the next": {func(a *Call) { *a = packed(2, 37, 8, 2); a.O += 16 }, "O overlaps Q"},
		"packed, LSE into a gap":  {func(a *Call) { *a = packed(2, 37, 8, 2); a.LSE = a.Q + 4096 }, "LSE overlaps Q"},
		"packed, every other row": {func(a *Call) { *a = packed(1, 64, 2, 2); a.Strides.O.Row *= 2 }, ""},
		"packed, every half row":  {func(a *Call) { *a = packed(1, 64, 2, 2); a.Strides.O.Row /= 2 }, "O overlaps K"},
	} {
		a := contiguous()
		c.change(&a)
		err := k.Check(a)
		if c.says == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, device.ErrBadCall, name)
		require.ErrorContains(t, err, c.says, name)
	}
}

// Of a workspace, only the bytes that the call needs count: it may be the start of all free memory.
func TestOverlappingWorkspace(t *testing.T) {
	_, k := weighedKernel(t, verticalSlash)
	a := bigCall(1 << 17)
	a.WorkspaceBytes = 1 << 50
	a.LSE = 6 << 42
	need, err := k.Workspace(a)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		at   device.Ptr
		says string
	}{
		"apart":          {7 << 42, ""},
		"right before Q": {a.Q - device.Ptr(need), ""},
		"into Q":         {a.Q - device.Ptr(need) + 256, "Workspace overlaps Q"},
		"in K":           {a.K + 256, "Workspace overlaps K"},
		"in V":           {a.V, "Workspace overlaps V"},
		"in O":           {a.O, "Workspace overlaps O"},
		"in LSE":         {a.LSE, "Workspace overlaps LSE"},
	} {
		a.Workspace = c.at
		err := k.Launch(nil, a)
		if c.says == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, device.ErrBadCall, name)
		require.ErrorContains(t, err, c.says, name)
	}
}

// Nothing is enqueued, nothing allocated, and little time spent.
func TestOverlapCostsLittle(t *testing.T) {
	dev, k := loaded(t)
	a := packed(2, 4096, 32, 8)
	launches := len(dev.Launches)
	bad := a
	bad.O = a.Q
	require.ErrorIs(t, k.Launch(nil, bad), device.ErrBadCall)
	require.Len(t, dev.Launches, launches)
	c, err := k.check(a.Shape)
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() { err = c.checkOverlap(a.Pointers) }))
	require.NoError(t, err)
}

func BenchmarkOverlap(b *testing.B) {
	for _, s := range []int{1, 4096, 131072} {
		a := packed(2, s, 32, 8)
		c := &call{Shape: a.Shape, headDim: 64}
		require.NoError(b, c.fillData())
		b.Run(fmt.Sprintf("packed %d", s), func(b *testing.B) {
			for b.Loop() {
				if err := c.checkOverlap(a.Pointers); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
