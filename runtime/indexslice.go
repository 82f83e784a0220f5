package runtime

import "math"

// The sums of probes are 8 bytes a key and head, and done with when their choices are made. So the heads are cut into slices
// whose sums fit a scratch memory, and the slices follow one another.

// probeSlice is a part of the heads: all of the call, or some kv heads of one batch entry.
type probeSlice struct {
	call  *call // with the slice's tensors and numbers of heads
	heads int
}

// slice cuts the heads so that the sums of a slice fit the scratch, or into single kv heads. One slice is one set of launches.
func (x *indexCall) slice() {
	if len(x.probes) == 0 {
		return
	}
	if x.sumBytes(x.call) <= x.scratch {
		x.slices = []probeSlice{{x.call, x.heads}}
		return
	}
	each := ceilDiv(x.KVHeads, x.slicesOfEntry()) // slices of about equal size
	group := x.QHeads / x.KVHeads
	for b := range x.Batch {
		for kv := 0; kv < x.KVHeads; kv += each {
			n := min(each, x.KVHeads-kv)
			x.slices = append(x.slices, probeSlice{x.part(b, kv, n), n * group})
		}
	}
}

// slicesOfEntry is how many slices one batch entry has by itself.
func (x *indexCall) slicesOfEntry() int {
	most := x.KVHeads
	for most > 1 && x.sumBytes(x.part(0, 0, most)) > x.scratch {
		most--
	}
	return ceilDiv(x.KVHeads, most)
}

// part is the call for n kv heads of one batch entry, as far as a probe is concerned.
func (x *indexCall) part(batch, kv, n int) *call {
	c, group := *x.call, x.QHeads/x.KVHeads
	c.Batch, c.KVHeads, c.QHeads = 1, n, n*group
	c.first = batch*x.QHeads + kv*group
	c.Q.Ptr += DevicePtr(elements(int64(batch)*c.Q.BatchStride + int64(kv*group)*c.Q.HeadStride))
	c.K.Ptr += DevicePtr(elements(int64(batch)*c.K.BatchStride + int64(kv)*c.K.HeadStride))
	return &c
}

// geometry is the launch of a probe for a slice.
func (x *indexCall) geometry(p *probeCall, s probeSlice, tiles int) probeGeometry {
	g := x.chunks(p, tiles)
	g.grid[1], g.grid[2] = s.call.KVHeads*ceilDiv(s.call.QHeads/s.call.KVHeads, p.heads), s.call.Batch
	return g
}

// sumBuffer is a buffer of a slice.
type sumBuffer struct {
	name  string
	bytes int64
}

// sumBuffers are what the probes of a slice compute, one after the other in the same memory.
func (x *indexCall) sumBuffers(c *call) []sumBuffer {
	heads, room := c.Batch*c.QHeads, 0
	for _, p := range x.probes {
		tiles := blocksOf(c.SeqK)
		if p.spread() {
			_, tiles = p.tilesOf(c.SeqK, math.MaxInt)
		}
		room = max(room, x.chunks(&p, tiles).room)
	}
	return []sumBuffer{
		{"probe_stats", product(heads, room, probeRows, 2, 4)},
		{"probe_lse", product(heads, probeRows, 2, 4)},
		{"col_sum", product(heads, x.keysPad(), 4)},
		{"diag_sum", product(heads, x.distPad(), 4)},
	}
}

func (x *indexCall) sumBytes(c *call) (sum int64) {
	for _, b := range x.sumBuffers(c) {
		sum += aligned(b.bytes)
	}
	return sum
}

// layOutSums reserves the memory of one slice. Where there are several it is all of the scratch, so that no shorter call
// needs more.
func (x *indexCall) layOutSums() {
	if len(x.slices) == 0 {
		return
	}
	start := x.bytes
	for _, b := range x.sumBuffers(x.slices[0].call) {
		x.buffers[b.name] = buffer{x.bytes, b.bytes}
		x.bytes += aligned(b.bytes)
	}
	if len(x.slices) > 1 {
		x.bytes = max(x.bytes, start+aligned(x.scratch))
	}
}

func aligned(n int64) int64 { return (n + workspaceAlign - 1) / workspaceAlign * workspaceAlign }
