// Package runtime loads compiled artifacts on a device, prepares calls and runs them. It never compiles patterns.
//
//	dev, err := device.Open("cuda", 0)
//	l, err := runtime.Load(dev, file, artifact.Select{})
//	call, err := l.Prepare(runtime.Shape{Batch: 1, QHeads: 32, KVHeads: 8, SeqQ: n, SeqK: n})
//	err = call.Run(stream, runtime.Pointers{Q: q, K: k, V: v, O: o, Workspace: w, WorkspaceBytes: call.Workspace()})
package runtime

import (
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime/device"
)

// Shape is a call but for its pointers and parameters: O = softmax over the kept pairs of (Scale Q K^T) V, for every batch and head.
//
// Query row i sits at position QOffset + i, keys at 0..SeqK-1. QHeads is a multiple of KVHeads (grouped-query attention).
// A row that keeps nothing, as every row does when SeqK is 0, gets output 0 and LSE -inf. SeqQ 0 launches nothing.
type Shape struct {
	Batch, QHeads, KVHeads int
	SeqQ, SeqK, QOffset    int     // of lengths in device memory: the most that a sequence has
	Lengths                Lengths // where the lengths of the sequences are
	TotalQ, TotalK         int     // rows of Q and O, and of K and V, if Lengths is Ragged
	// Reach is the position after the last query that lists are chosen for, if that lies beyond the queries of the call: calls over chunks of
	// a prompt then have lists of one size, and the lists of one call serve the others (RunStages). 0: the queries of the call are all.
	Reach   int
	Scale   float64 // 0 for 1/sqrt(head dim)
	Strides Strides
	// NoFallback keeps every head sparse. Otherwise heads of patterns that the data decides run without sparsity where that is
	// predicted to be faster: they keep all that the pattern could, and ReadChosen says which they are.
	NoFallback bool
	// SpanCap and KeyCap are how many spans and single keys a row block has room for in the lists that the caller gives (docs/given.md); 0 for
	// patterns without.
	SpanCap, KeyCap int
}

// Strides say how the tensors of a call lie in memory, each [batch, heads, rows, head dim] with the last dimension contiguous. A tensor
// whose strides are all zero is contiguous. LSE is [batch, heads, rows], and its rows are contiguous: its Row is not looked at.
type Strides struct {
	Q, K, V, O, LSE Stride
}

// Stride is what lies between two neighbours of each dimension, in elements. Strides of Q, K, V and O are multiples of 8 (16 bytes), because
// kernels copy 16 bytes at a time.
type Stride struct{ Batch, Head, Row int64 }

// Part is a pattern's share of the heads of a call.
type Part struct {
	Pattern int              // number of the pattern in the artifact
	Heads   []int            // query heads of the call, ascending; no other part has them. nil: all of them, in a call without other parts
	Params  map[string]int64 // the pattern's launch parameters, the same for all of these heads; what is left out has its default
	// HeadParams are budgets of the index stage that differ by head, one for each of Heads, for patterns that the data decides.
	HeadParams map[string][]int64
}

// Pointers are where the tensors of a call and its workspace lie, in device memory. Q, K, V and O begin at multiples of 16 bytes.
//
// Q, K and V may share memory with one another. O, LSE and the workspace may not share a byte with them, nor with each other (so O cannot
// be Q); interleaved in one buffer they may be. The workspace is the call's own until the run has ended, then free for the next one.
type Pointers struct {
	Q, O     device.Ptr // [Batch, QHeads, SeqQ, head dim]
	K, V     device.Ptr // [Batch, KVHeads, SeqK, head dim]
	LSE      device.Ptr // float32 [Batch, QHeads, SeqQ], the natural logarithm of the softmax's denominator; 0 when it is not wanted
	LengthsQ device.Ptr // int32 lengths of queries, if Shape.Lengths says that they are in device memory
	LengthsK device.Ptr // int32 lengths of keys
	Offsets  device.Ptr // int32 [Batch], the positions of the first queries
	StartsQ  device.Ptr // int32 [Batch], the rows of a batch entry at which queries begin, if Shape.Lengths is Padded; 0: row 0
	StartsK  device.Ptr // the same of keys
	// Lists that the caller gives, int32: SpanCount and KeyCount [Batch, QHeads, row blocks of 64 queries] say how many entries a row block has,
	// Spans [Batch, QHeads, row blocks, SpanCap] are first keys of 64 keys each, Keys [Batch, QHeads, row blocks, KeyCap] are single keys.
	Spans, SpanCount device.Ptr
	Keys, KeyCount   device.Ptr
	// What a recall writes, float32: Mass is [Batch, QHeads], MassRows, 0 where it is not wanted, [Batch, QHeads, sampled rows]. Nothing else looks
	// at them.
	Mass, MassRows device.Ptr
	Workspace      device.Ptr // aligned to 256 bytes; 0 if the call needs none
	WorkspaceBytes int64      // at least Prepared.Workspace
}

// call is a shape that was checked, with every default filled in: of a whole layer, or of the heads that one part spans.
type call struct {
	Shape
	headDim    int
	dtype      abi.DType
	scaleLog2  float32
	params     map[string]int64   // as given
	headParams map[string][]int64 // for each of QHeads
	mask       []bool             // heads that take part; nil: all do
	values     map[string]int64   // of all parameters of the schedule
	present    int                // heads of all batch entries that take part
	sharers    int                // the most of them that share a kv head
	group      int                // q heads of a kv head, in the layer
	head0      int                // the layer's head that is the call's first
	given      bool               // the caller gives the lists
}
