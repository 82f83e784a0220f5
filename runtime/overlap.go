package runtime

import (
	"slices"

	"github.com/minfc/minfc/runtime/device"
)

// What a launch writes (O, LSE, the workspace) must not lie in what it reads, nor in anything else that it writes: blocks run in any order,
// and the index stage and the dense kernel read Q, K and V again. Inputs may share memory, and tensors may be interleaved in one buffer, as
// long as no byte is part of two: [B, S, Hq + 2 Hk, D] for q, k and v, say, with O in a buffer of the same kind.

// region is a tensor's memory in bytes: runs of inner bytes, one for each element of a box.
type region struct {
	name  string
	start uint64
	inner int64
	dims  [3]step
	end   uint64 // the byte after the last one
}

// step is a dimension of a region: it has a run at every multiple of stride, 0 to most times.
type step struct{ stride, most int64 }

func newRegion(name string, start device.Ptr, inner int64, dims ...step) region {
	r := region{name: name, start: uint64(start), inner: inner}
	r.end = r.start + uint64(inner)
	for i, d := range dims {
		if d.most > 0 {
			r.dims[i] = d
			r.end += uint64(d.stride * d.most)
		}
	}
	return r
}

// tensorRegion is the memory of a tensor of a checked call.
func (c *call) tensorRegion(name string, at device.Ptr, s Stride, heads, rows int) region {
	batch, _, _ := c.Rows()
	return newRegion(name, at, elementBytes*int64(c.headDim), step{elementBytes * s.Batch, int64(batch - 1)},
		step{elementBytes * s.Head, int64(heads - 1)}, step{elementBytes * s.Row, int64(rows - 1)})
}

// regions are what the call reads, and what it writes: O and LSE. Tensors without rows have none.
func (c *call) regions(at Pointers, reads, writes []region) (r, w []region) {
	batch, rowsQ, rowsK := c.Rows()
	if rowsQ == 0 {
		return reads, writes
	}
	reads = c.givenRegions(at, reads)
	reads = c.lengthRegions(at, append(reads, c.tensorRegion("Q", at.Q, c.Strides.Q, c.QHeads, rowsQ)))
	if rowsK > 0 {
		reads = append(reads, c.tensorRegion("K", at.K, c.Strides.K, c.KVHeads, rowsK), c.tensorRegion("V", at.V, c.Strides.V, c.KVHeads, rowsK))
	}
	writes = append(writes, c.tensorRegion("O", at.O, c.Strides.O, c.QHeads, rowsQ))
	if lse := c.Strides.LSE; at.LSE != 0 {
		writes = append(writes, newRegion("LSE", at.LSE, lseBytes*int64(rowsQ), step{lseBytes * lse.Batch, int64(batch - 1)},
			step{lseBytes * lse.Head, int64(c.QHeads - 1)}))
	}
	return reads, writes
}

// checkOverlap refuses O or LSE in memory that the call reads, or in each other's.
func (c *call) checkOverlap(at Pointers) error {
	var memory [2][8]region // so that nothing is allocated
	reads, writes := c.regions(at, memory[0][:0], memory[1][:0])
	for i := range writes {
		if err := writes[i].apart(reads, writes[:i]); err != nil {
			return err
		}
	}
	return nil
}

// checkWorkspaceApart refuses a workspace in memory that the call reads or writes otherwise. Only the bytes that the call needs count.
func (c *call) checkWorkspaceApart(at Pointers, bytes int64) error {
	if bytes == 0 {
		return nil
	}
	var memory [2][8]region
	reads, writes := c.regions(at, memory[0][:0], memory[1][:0])
	workspace := newRegion("Workspace", at.Workspace, bytes)
	return workspace.apart(reads, writes)
}

func (r *region) apart(others ...[]region) error {
	for _, list := range others {
		for i := range list {
			if o := &list[i]; r.overlaps(o) {
				return device.BadCall("%s overlaps %s: its bytes %#x to %#x meet those from %#x to %#x; what a launch writes needs memory of its own",
					r.name, o.name, r.start, r.end-1, o.start, o.end-1)
			}
		}
	}
	return nil
}

// overlaps says whether a byte is part of both. Of regions that are interleaved in a way that takes more than a few steps to tell, it says
// yes.
func (r *region) overlaps(o *region) bool {
	if r.end <= o.start || o.end <= r.start {
		return false
	}
	s := search{low: -o.inner + 1, high: r.inner - 1, budget: 256} // bytes from a run of r to one of o that overlaps it
	for _, d := range o.dims {
		s.add(d.stride, 0, d.most)
	}
	for _, d := range r.dims {
		s.add(-d.stride, 0, d.most)
	}
	terms := s.terms[:s.n]
	slices.SortFunc(terms, func(a, b term) int { return int(min(max(b.stride-a.stride, -1), 1)) })
	return s.reaches(int64(o.start-r.start), terms)
}

// search asks whether a distance between two runs, of a start and multiples of strides, can lie between low and high.
type search struct {
	terms     [6]term
	n         int
	low, high int64
	budget    int // of steps
}

// term is a stride above 0, any number of times from first to last.
type term struct{ stride, first, last int64 }

// add puts a dimension to the terms; equal strides, as tensors of one buffer have them, become one.
func (s *search) add(stride, first, last int64) {
	if stride < 0 {
		stride, first, last = -stride, -last, -first
	}
	if stride == 0 || first == last {
		return
	}
	for i := range s.terms[:s.n] {
		if t := &s.terms[i]; t.stride == stride {
			t.first, t.last = t.first+first, t.last+last
			return
		}
	}
	s.terms[s.n] = term{stride, first, last}
	s.n++
}

// reaches tries the multiples of the largest stride from which the others can still come back.
func (s *search) reaches(at int64, terms []term) bool {
	if s.budget--; s.budget < 0 {
		return true
	}
	if len(terms) == 0 {
		return s.low <= at && at <= s.high
	}
	t, least, most := terms[0], int64(0), int64(0)
	for _, x := range terms[1:] {
		least, most = least+x.stride*x.first, most+x.stride*x.last
	}
	// at + n*stride + something from least to most must come to lie between low and high
	first := max(t.first, ceilTo(s.low-most-at, t.stride))
	last := min(t.last, floorTo(s.high-least-at, t.stride))
	for n := first; n <= last; n++ {
		if s.reaches(at+n*t.stride, terms[1:]) {
			return true
		}
	}
	return false
}

// floorTo and ceilTo divide, rounding down and up.
func floorTo(x, by int64) int64 {
	q := x / by
	if x%by < 0 {
		q--
	}
	return q
}

func ceilTo(x, by int64) int64 { return -floorTo(-x, by) }
