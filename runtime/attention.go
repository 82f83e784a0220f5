package runtime

import (
	"fmt"
	"maps"

	"github.com/minfc/minfc/ir"
)

// Tensor is device memory owned by the caller: [batch, heads, rows, head dim] with strides in elements and the last
// dimension contiguous. All strides zero means contiguous. Address and strides are multiples of 16 bytes (8 elements),
// because kernels copy 16 bytes at a time.
type Tensor struct {
	Ptr                                DevicePtr
	BatchStride, HeadStride, RowStride int64
}

// Attention is one call: O = softmax over the kept pairs of (Scale Q K^T) V, for every batch and head.
//
// Query row i sits at position QOffset + i, keys at 0..SeqK-1. QHeads is a multiple of KVHeads (grouped-query attention).
// A row that keeps nothing, as every row does when SeqK is 0, gets output 0 and LSE -inf. SeqQ 0 launches nothing.
//
// Q, K and V may share memory with one another. O, LSE and the workspace may not share a byte with them, nor with each other (so O cannot be Q);
// interleaved in one buffer they may be.
type Attention struct {
	Q, O Tensor // [Batch, QHeads, SeqQ, head dim]
	K, V Tensor // [Batch, KVHeads, SeqK, head dim]

	// LSE is float32 [Batch, QHeads, SeqQ], the natural logarithm of the softmax's denominator; 0 when it is not wanted.
	// The strides are in elements, both zero for contiguous; rows are contiguous.
	LSE                           DevicePtr
	LSEBatchStride, LSEHeadStride int64

	Batch, QHeads, KVHeads int
	SeqQ, SeqK, QOffset    int
	Scale                  float64          // 0 for 1/sqrt(head dim)
	Params                 map[string]int64 // the pattern's launch parameters; those left out have their defaults

	// HeadParams gives budgets of the index stage to each query head, [QHeads] values a parameter, for patterns that the data
	// decides. What is not in it is the same for all heads.
	HeadParams map[string][]int64
	// NoFallback keeps every head sparse. Otherwise heads of patterns that the data decides run without sparsity where that is
	// predicted to be faster: they keep all that the pattern could, and ReadChosen says which they are.
	NoFallback bool
	// Heads says which query heads take part, [QHeads]; empty: all do. The others' rows of O and LSE are not touched, so that
	// the kernels of several patterns can share the tensors of a layer, on one stream or on several.
	Heads []bool
	// Workspace is device memory for what the index stage computes, WorkspaceBytes of it, aligned to 256 bytes;
	// LoadedKernel.Workspace says how much a call needs. It is the call's own until the launch has ended, then free for the
	// next one.
	Workspace      DevicePtr
	WorkspaceBytes int64
}

// call is an Attention that was checked, with every default filled in.
type call struct {
	Attention
	headDim   int
	scaleLog2 float32
	values    map[string]int64  // of all parameters of the schedule
	lists     map[string]uint64 // values of the kernel parameters for what the data chose
	rowTiles  int               // of a head, in the kernel that is launched
	queue     uint64            // address of a u32 for kernels that count row tiles
	route     uint64            // address of the heads' words, 0 if the kernel computes all heads
	taken     uint64            // the word of those that the kernel computes
	present   int               // heads of all batch entries that take part
	sharers   int               // the most of them that share a kv head
	first     int               // number of its first head, of a call that is a part of another
	section   sectionPlace      // of a group's launch
	rowHeads  []byte            // of a group's launch, the whole layer's: which heads rows of the grid are
	passing   DevicePtr         // where what the index stage alone uses is; 0: behind the rest in the workspace
}

// items is the number of row tiles of the launch.
func (c *call) items() int { return c.rowTiles * c.QHeads * c.Batch }

const queueBytes = 4

// Launch enqueues the attention on a stream (nil: the default stream) and returns; for patterns that the data decides, the
// kernels that compute its lists come before it. It does not synchronise, allocates no device memory, copies nothing and
// keeps no reference to a, so that a CUDA graph may capture it. Errors wrap ErrBadCall when the call is at fault; then nothing was enqueued.
// It is safe for concurrent use.
func (k *LoadedKernel) Launch(s Stream, a Attention) error { return k.launch(s, a, true, true) }

// LaunchIndex is the first half of Launch: it enqueues the kernels that choose what to keep, and leaves their lists in the
// workspace. For patterns that do not depend on data it enqueues nothing, unless heads take no part.
func (k *LoadedKernel) LaunchIndex(s Stream, a Attention) error { return k.launch(s, a, true, false) }

// LaunchAttention is the second half of Launch: attention over the lists that LaunchIndex or WriteChosen left in the
// workspace, in a call of the same shape and parameters.
func (k *LoadedKernel) LaunchAttention(s Stream, a Attention) error {
	return k.launch(s, a, false, true)
}

// launch checks the call and enqueues one or both halves of it.
func (k *LoadedKernel) launch(s Stream, a Attention, index, attention bool) error {
	if k.function == nil && (index || attention) {
		return badCall("%s is a pattern of a head plan, whose heads are launched together: use LoadedGroups.Launch", k.schedule.Name)
	}
	c, err := k.check(a)
	if err != nil || c.idle() {
		return err
	}
	if !k.needsWorkspace(c) {
		if !attention {
			return nil
		}
		return k.launchAttention(s, c)
	}
	x, v, err := k.prepare(c)
	if err != nil {
		return err
	}
	if index {
		if err := k.launchIndex(s, x, v); err != nil {
			return err
		}
	}
	if !attention {
		return nil
	}
	return k.launchRouted(s, x, v)
}

// needsWorkspace says whether a call has something to keep in device memory.
func (k *LoadedKernel) needsWorkspace(c *call) bool { return len(k.plan.choices) > 0 || c.shared() }

// prepare plans what comes before attention, and weighs it.
func (k *LoadedKernel) prepare(c *call) (*indexCall, verdict, error) {
	x, v, err := k.planned(c)
	if err == nil {
		err = x.checkWorkspace(x.bytes)
	}
	if err != nil {
		return nil, verdict{}, err
	}
	x.fillLists()
	return x, v, nil
}

// launchRouted enqueues the kernels that compute the heads; with both of them, each leaves the other's heads out.
func (k *LoadedKernel) launchRouted(s Stream, x *indexCall, v verdict) error {
	if x.taken = takeSparse; x.shared() || v.routing == byHead {
		x.route = x.at("route")
	}
	if v.routing == allDense {
		return k.fallback.dense.launchAttention(s, x.call)
	}
	if err := k.launchAttention(s, x.call); err != nil || v.routing == allSparse {
		return err
	}
	x.taken = takeDense
	return k.fallback.dense.launchAttention(s, x.call)
}

// launchAttention enqueues the kernel alone.
func (k *LoadedKernel) launchAttention(s Stream, c *call) error {
	c.rowTiles = ceilDiv(c.SeqQ, k.info.Rows()) // a dense kernel has other ones than the one that the call was checked for
	args, err := k.arguments(c)
	if err != nil {
		return err
	}
	if k.info.BlocksPerSM > 0 {
		if err := k.dev.Fill(DevicePtr(c.queue), 0, queueBytes, s); err != nil {
			return err
		}
	}
	return k.function.Launch(Launch{Grid: k.grid(c), Block: [3]uint32{uint32(k.info.Threads), 1, 1}, SharedBytes: k.info.SharedBytes}, args, s)
}

// grid is a block for every row tile, head and batch entry; of a kernel with a queue, as many as the device runs at once.
func (k *LoadedKernel) grid(c *call) [3]uint32 {
	if k.info.BlocksPerSM > 0 {
		return [3]uint32{uint32(min(c.items(), k.info.BlocksPerSM*k.dev.Info().Multiprocessors)), 1, 1}
	}
	return [3]uint32{uint32(c.rowTiles), uint32(c.QHeads), uint32(c.Batch)}
}

// paramSet is a set of launch parameters that was found good.
type paramSet struct{ given, values map[string]int64 }

// checkParams returns the values of all parameters. Servers launch with the same ones again and again, so the last good
// set is remembered.
func (k *LoadedKernel) checkParams(given map[string]int64) (map[string]int64, error) {
	if last := k.lastParams.Load(); last != nil && maps.Equal(last.given, given) {
		return last.values, nil
	}
	values, err := ir.CheckLaunch(k.schedule.Params, k.schedule.Requires, given)
	if err == nil {
		err = k.schedule.CheckValues(values)
	}
	if err == nil && k.pattern != nil {
		err = k.pattern.CheckValues(values)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadCall, err)
	}
	k.lastParams.Store(&paramSet{maps.Clone(given), values})
	return values, nil
}

// Cover returns which pairs a launch of a keeps, for the listed query rows (nil: all of them): one byte for each row and
// key, [len(rows), SeqK], 1 where the pair is kept. It is computed from the schedule that the kernel was compiled from,
// and is the same for every batch and head. Of a it uses SeqQ, SeqK, QOffset and Params.
func (k *LoadedKernel) Cover(a Attention, rows []int) ([]byte, error) {
	if len(k.plan.choices) > 0 {
		return nil, fmt.Errorf("%w: pattern %s: %w", ErrBadCall, k.schedule.Name, errNotChosen)
	}
	launched, rows, err := k.bindCover(a, rows)
	if err != nil {
		return nil, err
	}
	shape := ir.Shape{Sq: a.SeqQ, Sk: a.SeqK, QOffset: a.QOffset}
	cover := make([]byte, 0, len(rows)*a.SeqK)
	for _, i := range rows {
		row, err := launched.Row(shape, i)
		if err != nil {
			return nil, err
		}
		cover = append(cover, row...)
	}
	return cover, nil
}

func allRows(n int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	return rows
}
