package emu

// An agent accesses shared memory in an order of its own: the warps of a block, then its mbarriers, each of which stands
// for the copies that complete on it.
const (
	maxWarps     = 32
	maxMbarriers = 96
	agents       = maxWarps + maxMbarriers // a power of two
)

// vclock says how much of every agent's doing lies before something: a warp counts its releases (arrivals at barriers,
// proxy fences), an mbarrier its completed phases.
type vclock [agents]uint32

func (v *vclock) join(x *vclock) {
	for i, n := range x {
		v[i] = max(v[i], n)
	}
}

// meet keeps what both have seen.
func (v *vclock) meet(x *vclock) {
	for i, n := range x {
		v[i] = min(v[i], n)
	}
}

// acquire makes what x has seen visible to the warp.
func (w *warp) acquire(x *vclock) {
	own := w.clock[w.id&31]
	w.clock.join(x)
	w.clock[w.id&31] = own
}

// release gives what the warp has done so far to x, and starts the warp's next stretch.
func (w *warp) release(x *vclock) {
	x.join(&w.clock)
	w.clock[w.id&31]++
}
