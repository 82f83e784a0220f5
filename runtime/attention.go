// Package runtime loads compiled artifacts, prepares calls and launches them on a device. It never compiles patterns.
//
//	dev, err := device.Open("cuda", 0)
//	k, err := runtime.LoadKernel(dev, file, artifact.Select{})
//	err = k.Launch(stream, runtime.Attention{Q: q, K: k, V: v, O: o, ...})
package runtime

import (
	"fmt"
	"maps"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// Tensor is device memory owned by the caller: [batch, heads, rows, head dim] with strides in elements and the last
// dimension contiguous. All strides zero means contiguous. Address and strides are multiples of 16 bytes (8 elements),
// because kernels copy 16 bytes at a time.
type Tensor struct {
	Ptr                                device.Ptr
	BatchStride, HeadStride, RowStride int64
}

// Attention is one call: O = softmax over the kept pairs of (Scale Q K^T) V, for every batch and head.
//
// Query row i sits at position QOffset + i, keys at 0..SeqK-1. QHeads is a multiple of KVHeads (grouped-query attention).
// A row that keeps nothing, as every row does when SeqK is 0, gets output 0 and LSE -inf. SeqQ 0 launches nothing.
//
// Q, K and V may share memory with one another. O, LSE and the workspace may not share a byte with them, nor with each other (so O cannot
// be Q); interleaved in one buffer they may be.
type Attention struct {
	Q, O Tensor // [Batch, QHeads, SeqQ, head dim]
	K, V Tensor // [Batch, KVHeads, SeqK, head dim]

	// LSE is float32 [Batch, QHeads, SeqQ], the natural logarithm of the softmax's denominator; 0 when it is not wanted.
	// The strides are in elements, both zero for contiguous; rows are contiguous.
	LSE                           device.Ptr
	LSEBatchStride, LSEHeadStride int64

	Batch, QHeads, KVHeads int
	SeqQ, SeqK, QOffset    int
	Scale                  float64          // 0 for 1/sqrt(head dim)
	Params                 map[string]int64 // the pattern's launch parameters; what is left out has its default

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
	Workspace      device.Ptr
	WorkspaceBytes int64
}

// call is an Attention that was checked, with every default filled in.
type call struct {
	Attention
	headDim   int
	dtype     string
	scaleLog2 float32
	values    map[string]int64 // of all parameters of the schedule
	present   int              // heads of all batch entries that take part
	sharers   int              // the most of them that share a kv head
	head0     int              // the layer's head that is the call's first, of a part of a layer
}

// Prepare checks a call and computes all that does not depend on its pointers, which it does not look at. Calls of one shape and the
// same parameters are prepared once and then remembered. Errors wrap ErrBadCall when the call is at fault.
func (k *LoadedKernel) Prepare(a Attention) (*Prepared, error) {
	if k.function == nil {
		return nil, device.BadCall("%s is a pattern of a head plan, whose heads are launched together: use LoadedGroups.Prepare", k.schedule.Name)
	}
	return k.prepare(a)
}

// prepare is Prepare for all that does not launch attention.
func (k *LoadedKernel) prepare(a Attention) (*Prepared, error) {
	return k.prepared.find(&a, nil, func() (*Prepared, error) {
		c, err := k.check(shapeOf(a))
		if err != nil {
			return nil, err
		}
		p := &Prepared{call: c, dev: k.dev, parts: []*preparedPart{{kernel: k}}, launches: 1}
		if c.idle() {
			return p, nil
		}
		return p, p.prepareOne(k)
	})
}

// prepareOne is for a call of one pattern, whose workspace is its own.
func (p *Prepared) prepareOne(k *LoadedKernel) error {
	x, err := k.bind(p.call)
	if err != nil {
		return err
	}
	part := p.parts[0]
	part.bound, part.stores = x, k.needsWorkspace(p.call)
	if part.stores {
		p.workspace = x.Kept + x.Passing
		p.most = p.workspace
	}
	if x.routing == byHead {
		p.launches = 2
	}
	r := &recorder{dev: k.dev}
	if part.stores {
		index, err := x.indexActions()
		if err != nil {
			return wrapInternal(err)
		}
		if err := r.add(k, x, index); err != nil {
			return err
		}
	}
	p.index = len(r.records)
	if k.function != nil {
		attention, err := x.attentionActions()
		if err != nil {
			return wrapInternal(err)
		}
		if err := r.add(k, x, attention); err != nil {
			return err
		}
	}
	p.records = r.finish()
	return nil
}

// Launch enqueues the attention on a stream (nil: the default stream) and returns; for patterns that the data decides, the
// kernels that compute its lists come before it. It is Prepare and Run. It does not synchronise, allocates no device memory, copies nothing
// and keeps no reference to a, so that a CUDA graph may capture it. Errors wrap ErrBadCall when the call is at fault; then nothing was
// enqueued. It is safe for concurrent use.
func (k *LoadedKernel) Launch(s device.Stream, a Attention) error {
	p, err := k.Prepare(a)
	if err != nil {
		return err
	}
	return p.Run(s, pointersOf(a))
}

// LaunchIndex is the first half of Launch: it enqueues the kernels that choose what to keep, and leaves their lists in the
// workspace. For patterns that do not depend on data it enqueues nothing, unless heads take no part.
func (k *LoadedKernel) LaunchIndex(s device.Stream, a Attention) error {
	p, err := k.Prepare(a)
	if err != nil {
		return err
	}
	return p.RunIndex(s, pointersOf(a))
}

// LaunchAttention is the second half of Launch: attention over the lists that LaunchIndex or WriteChosen left in the
// workspace, in a call of the same shape and parameters.
func (k *LoadedKernel) LaunchAttention(s device.Stream, a Attention) error {
	p, err := k.Prepare(a)
	if err != nil {
		return err
	}
	return p.RunAttention(s, pointersOf(a))
}

// needsWorkspace says whether a call has something to keep in device memory.
func (k *LoadedKernel) needsWorkspace(c *call) bool { return len(k.choices) > 0 || c.shared() }

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
		return nil, fmt.Errorf("%w: %w", device.ErrBadCall, err)
	}
	k.lastParams.Store(&paramSet{maps.Clone(given), values})
	return values, nil
}

// Cover returns which pairs a launch of a keeps, for the listed query rows (nil: all of them): one byte for each row and
// key, [len(rows), SeqK], 1 where the pair is kept. It is computed from the schedule that the kernel was compiled from,
// and is the same for every batch and head. Of a it uses SeqQ, SeqK, QOffset and Params.
func (k *LoadedKernel) Cover(a Attention, rows []int) ([]byte, error) {
	if len(k.choices) > 0 {
		return nil, fmt.Errorf("%w: pattern %s: %w", device.ErrBadCall, k.schedule.Name, errNotChosen)
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
