package runtime

import (
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// Lengths says where the lengths of the sequences of a call are: in its shape, the same for all, or in device memory, read by each run. A call
// with lengths in device memory is made for the longest sequence, and a captured graph serves all others. It needs an artifact that was
// compiled for it (Build.Lengths).
//
// In device memory, lengths are int32, and the shape has the most of each: SeqQ, SeqK and QOffset. Larger numbers there are cut to these, and
// to the rows of the tensors, so that no run reads or writes beyond them. Which heads run dense is decided from the longest lengths alone.
type Lengths uint8

const (
	// InShape: SeqQ, SeqK and QOffset of the shape hold for every sequence.
	InShape Lengths = iota
	// Padded: a sequence has rows of its batch entry, from StartsQ and StartsK on. Pointers.LengthsQ and LengthsK are lengths and Offsets the
	// positions of query 0, [Batch] each; its keys are at positions 0 and up. Without LengthsQ, SeqQ of the shape holds for all; without
	// Offsets, QOffset does; without LengthsK, the keys of a sequence end with its last query. Other rows are not written and count for nothing.
	Padded
	// Ragged: the rows of the sequences follow each other in tensors without a batch: contiguous [heads, TotalQ, head dim], or as strides of
	// heads and rows say. Pointers.LengthsQ and LengthsK are cumulative, [Batch+1], from 0 on. Without LengthsK, queries and keys are of the
	// same rows. Offsets are as with Padded. Strides of batches are not looked at, LSE is [heads, TotalQ].
	Ragged
)

// ragged is 1 or 0, as kernels are told.
func (l Lengths) ragged() int64 {
	if l == Ragged {
		return 1
	}
	return 0
}

// lengthsBytes is the memory of the records of lengths.
func (c *call) lengthsBytes() int64 {
	if c.Lengths == InShape {
		return 0
	}
	return (abi.LengthsBytes*int64(c.Batch) + ir.BufferAlign - 1) / ir.BufferAlign * ir.BufferAlign
}

// Rows are how many batch entries the tensors have, and how many rows of queries and of keys: with Ragged, one entry with all rows.
func (s Shape) Rows() (batch, q, k int) {
	if s.Lengths == Ragged {
		return 1, s.TotalQ, s.TotalK
	}
	return s.Batch, s.SeqQ, s.SeqK
}

func checkLengthsKind(s Shape) error {
	switch {
	case s.Lengths > Ragged:
		return device.BadCall("Lengths is %d, want InShape, Padded or Ragged", s.Lengths)
	case s.Lengths != Ragged && (s.TotalQ != 0 || s.TotalK != 0):
		return device.BadCall("TotalQ is %d and TotalK %d, want 0 unless Lengths is Ragged", s.TotalQ, s.TotalK)
	case s.TotalQ < 0 || s.TotalQ > ir.MaxParam || s.TotalK < 0 || s.TotalK > ir.MaxParam:
		return device.BadCall("TotalQ is %d and TotalK %d, want 0 to %d", s.TotalQ, s.TotalK, ir.MaxParam)
	}
	return nil
}

// checkBuild says whether the artifact's kernels are for such lengths.
func (l *Loaded) checkBuild(s Shape) error {
	switch {
	case s.Lengths == InShape && l.build.Lengths:
		return device.BadCall("Lengths is InShape, and the artifact was compiled for lengths in device memory")
	case s.Lengths != InShape && !l.build.Lengths:
		return device.BadCall("the call has lengths in device memory, and the artifact was compiled without them")
	}
	return nil
}

// checkLengthPointers checks what a run brings of lengths.
func (c *call) checkLengthPointers(at Pointers) error {
	if c.Lengths == InShape {
		if at.LengthsQ != 0 || at.LengthsK != 0 || at.Offsets != 0 || at.StartsQ != 0 || at.StartsK != 0 {
			return device.BadCall("LengthsQ, LengthsK, Offsets, StartsQ or StartsK is set, and Lengths of the shape is InShape")
		}
		return nil
	}
	if c.Lengths == Ragged && at.LengthsQ == 0 {
		return device.BadCall("LengthsQ is a null pointer, want the %d cumulative lengths of a ragged batch", c.Batch+1)
	}
	if c.Lengths == Ragged && (at.StartsQ != 0 || at.StartsK != 0) {
		return device.BadCall("StartsQ or StartsK is set, and the sequences of a ragged batch begin where its cumulative lengths say")
	}
	for _, p := range [...]struct {
		name string
		at   device.Ptr
	}{{"LengthsQ", at.LengthsQ}, {"LengthsK", at.LengthsK}, {"Offsets", at.Offsets}, {"StartsQ", at.StartsQ}, {"StartsK", at.StartsK}} {
		if p.at%4 != 0 {
			return device.BadCall("%s starts at %#x, want an address that is a multiple of 4 bytes", p.name, uint64(p.at))
		}
	}
	return nil
}

// lengthRegions are what the call reads of lengths.
func (c *call) lengthRegions(at Pointers, reads []region) []region {
	n := 4 * int64(c.Batch)
	cumulative := n
	if c.Lengths == Ragged {
		cumulative += 4
	}
	for _, p := range [...]struct {
		name  string
		at    device.Ptr
		bytes int64
	}{{"LengthsQ", at.LengthsQ, cumulative}, {"LengthsK", at.LengthsK, cumulative}, {"Offsets", at.Offsets, n},
		{"StartsQ", at.StartsQ, n}, {"StartsK", at.StartsK, n}} {
		if p.at != 0 {
			reads = append(reads, newRegion(p.name, p.at, p.bytes))
		}
	}
	return reads
}
