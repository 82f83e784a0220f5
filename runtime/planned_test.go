package runtime

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// bigCall is a call with memory that nobody looks at.
func bigCall(length int) Attention {
	return Attention{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: length, SeqK: length, NoFallback: true, Workspace: 0x100000, WorkspaceBytes: 1 << 40,
		Q: Tensor{Ptr: 1 << 42}, K: Tensor{Ptr: 2 << 42}, V: Tensor{Ptr: 3 << 42}, O: Tensor{Ptr: 4 << 42}}
}

// A plan that is remembered is the one that would be made: after any other call, after budgets that the caller changed in
// place, and with another workspace.
func TestPlansAreRemembered(t *testing.T) {
	var log []string
	k := weighedKernel(t, verticalSlash, &log)
	bytesOf := func(a Attention) int64 {
		c, err := k.checkShape(a)
		require.NoError(t, err)
		x, _, err := k.planned(c)
		require.NoError(t, err)
		again, _, err := k.planned(c)
		require.NoError(t, err)
		require.Equal(t, x, again)
		fresh, err := k.planCall(c)
		require.NoError(t, err)
		require.Equal(t, fresh, again)
		return x.bytes
	}
	a := bigCall(5000)
	a.Params = map[string]int64{"vertical": 100, "slash": 200}
	small := bytesOf(a)
	a.Params["vertical"] = 3000
	require.Greater(t, bytesOf(a), small)
	a.Params["vertical"] = 100
	require.Equal(t, small, bytesOf(a))

	a.HeadParams = map[string][]int64{"vertical": {100, 100, 100, 100}}
	require.Equal(t, small, bytesOf(a))
	a.HeadParams["vertical"][2] = 3000
	require.Greater(t, bytesOf(a), small)

	a.Heads = []bool{true, true, true, false}
	c, err := k.checkShape(a)
	require.NoError(t, err)
	x, _, err := k.planned(c)
	require.NoError(t, err)
	require.Equal(t, []int32{0, 0, 0, takeNobody}, x.routes())
	a.Heads[2] = false
	require.Equal(t, small, bytesOf(a), "the head with the large budget takes no part")
	a.Heads = nil

	c, err = k.checkShape(a)
	require.NoError(t, err)
	c.Workspace = 0x200000
	x, _, err = k.planned(c)
	require.NoError(t, err)
	require.Equal(t, uint64(0x200000), x.at("budgets"))

	a.NoFallback = false
	c, err = k.checkShape(a)
	require.NoError(t, err)
	_, v, err := k.planned(c)
	require.NoError(t, err)
	require.Equal(t, allDense, v.routing, "a short call")
}

// Calls that take turns are all remembered, as a head plan makes them; the oldest goes when there are too many.
func TestSeveralPlansAreRemembered(t *testing.T) {
	var log []string
	k := weighedKernel(t, verticalSlash, &log)
	call := func(n int) *call {
		a := bigCall(5000)
		a.Params = map[string]int64{"vertical": int64(100 * n)}
		c, err := k.checkShape(a)
		require.NoError(t, err)
		return c
	}
	for n := range plansKept {
		_, _, err := k.planned(call(n))
		require.NoError(t, err)
	}
	for n := range plansKept {
		x, _, ok := k.recalled(call(n))
		require.True(t, ok, n)
		fresh, err := k.planCall(call(n))
		require.NoError(t, err)
		require.Equal(t, fresh, x)
	}
	_, _, err := k.planned(call(plansKept))
	require.NoError(t, err)
	_, _, ok := k.recalled(call(0))
	require.False(t, ok)
	_, _, ok = k.recalled(call(1))
	require.True(t, ok)
}

// What a launch costs the host: less than a short call runs on the device.
func BenchmarkLaunch(b *testing.B) {
	t := &testing.T{}
	for name, noFallback := range map[string]bool{"sparse": true, "dense": false} {
		b.Run(name, func(b *testing.B) {
			var log []string
			k := weighedKernel(t, verticalSlash, &log)
			a := bigCall(1024)
			a.QHeads, a.KVHeads, a.NoFallback = 32, 8, noFallback
			for b.Loop() {
				log = log[:0]
				if err := k.Launch(nil, a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
