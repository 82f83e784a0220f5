package runtime

import (
	"fmt"
	"maps"
	"slices"

	"github.com/minfc/minfc/runtime/device"
)

// Pointers are where the tensors of a call and its workspace lie, in device memory.
type Pointers struct {
	Q, K, V, O     device.Ptr
	LSE            device.Ptr // 0 when it is not wanted
	Workspace      device.Ptr // aligned to 256 bytes; 0 if the call needs none
	WorkspaceBytes int64
}

// Prepared is a call that was checked and computed as far as it does not depend on its pointers: what Run enqueues, and where
// ReadChosen finds what was chosen. It is immutable and safe for concurrent use until its kernels are closed.
type Prepared struct {
	call      *call // of the whole layer, without pointers
	dev       device.Device
	parts     []*preparedPart
	workspace int64 // bytes that a run needs
	most      int64 // the same if nothing ran dense: so that the workspace of a longer call serves this one
	records   *recording
	index     int // records that come before attention
	launches  int // of attention
}

// preparedPart is a pattern's share of the call.
type preparedPart struct {
	kernel *LoadedKernel
	member int // of a plan
	bound  *boundCall
	heads  []int // of the layer; nil: all
	stores bool  // something comes before attention, and has memory in the workspace
}

// wrap says whose error it is.
func (p *preparedPart) wrap(err error) error {
	if p.heads == nil {
		return err
	}
	return fmt.Errorf("%s: %w", ListHeads(p.heads), err)
}

// Workspace is how many bytes of device memory a run needs beside its tensors. It grows with the lengths, the heads and the budgets, so
// that the workspace of the largest call serves all smaller ones.
func (p *Prepared) Workspace() int64 { return p.most }

// Launches is how many kernels compute the attention itself.
func (p *Prepared) Launches() int { return p.launches }

// Run enqueues the call on a stream (nil: the default stream) and returns. It does not synchronise, allocates no device memory, copies
// nothing and keeps no reference, so that a CUDA graph may capture it. Errors wrap ErrBadCall when a pointer is at fault; then nothing was
// enqueued.
func (p *Prepared) Run(s device.Stream, at Pointers) error { return p.run(s, at, true, true) }

// RunIndex is the first half of Run: it enqueues the kernels that choose what to keep, and leaves their lists in the workspace.
func (p *Prepared) RunIndex(s device.Stream, at Pointers) error { return p.run(s, at, true, false) }

// RunAttention is the second half of Run, over the lists that RunIndex or WriteChosen left in the workspace.
func (p *Prepared) RunAttention(s device.Stream, at Pointers) error { return p.run(s, at, false, true) }

// check says what is wrong with the pointers of a run.
func (p *Prepared) check(at Pointers) error {
	if p.call.idle() {
		return nil
	}
	return p.call.checkPointers(at, p.workspace)
}

func (p *Prepared) run(s device.Stream, at Pointers, index, attention bool) error {
	if err := p.check(at); err != nil || p.call.idle() {
		return err
	}
	bases := at.bases()
	if p.call.SeqK == 0 { // never looked at
		bases[baseK], bases[baseV] = 0, 0
	}
	first, end := 0, len(p.records.records)
	if !index {
		first = p.index
	}
	if !attention {
		end = p.index
	}
	return p.records.run(s, bases, first, end)
}

// bases are the pointers that addresses start from.
func (p Pointers) bases() pointers {
	return pointers{baseQ: p.Q, baseK: p.K, baseV: p.V, baseO: p.O, baseLSE: p.LSE, baseWorkspace: p.Workspace}
}

// preparedKept is how many prepared calls are remembered: kernels may serve all layers of a model, some with several sets of parameters,
// and a server goes through them again and again.
const preparedKept = 512

// recordsKept bounds the memory of what is remembered: a call of a strided probe over a million tokens has thousands of records.
const recordsKept = 1 << 16

// sameCall compares what a prepared call depends on.
func sameCall(a, b *Attention) bool {
	return a.Batch == b.Batch && a.QHeads == b.QHeads && a.KVHeads == b.KVHeads &&
		a.SeqQ == b.SeqQ && a.SeqK == b.SeqK && a.QOffset == b.QOffset && a.NoFallback == b.NoFallback && a.Scale == b.Scale &&
		sameStrides(&a.Q, &b.Q) && sameStrides(&a.K, &b.K) && sameStrides(&a.V, &b.V) && sameStrides(&a.O, &b.O) &&
		a.LSEBatchStride == b.LSEBatchStride && a.LSEHeadStride == b.LSEHeadStride &&
		slices.Equal(a.Heads, b.Heads) && maps.Equal(a.Params, b.Params) && maps.EqualFunc(a.HeadParams, b.HeadParams, slices.Equal[[]int64])
}

func sameStrides(a, b *Tensor) bool {
	return a.BatchStride == b.BatchStride && a.HeadStride == b.HeadStride && a.RowStride == b.RowStride
}

// shapeOf is a call without its pointers, and with maps of its own.
func shapeOf(a Attention) Attention {
	a.Q.Ptr, a.K.Ptr, a.V.Ptr, a.O.Ptr, a.LSE, a.Workspace, a.WorkspaceBytes = 0, 0, 0, 0, 0, 0, 0
	a.Params, a.Heads, a.HeadParams = maps.Clone(a.Params), slices.Clone(a.Heads), cloneValues(a.HeadParams)
	return a
}

// withoutStrides is a call whose tensors are contiguous and whose scale is the default, for what depends on neither.
func withoutStrides(a Attention) Attention {
	a.Q, a.K, a.V, a.O, a.LSEBatchStride, a.LSEHeadStride, a.Scale = Tensor{}, Tensor{}, Tensor{}, Tensor{}, 0, 0, 0
	return a
}

// pointersOf are the pointers of a call.
func pointersOf(a Attention) Pointers {
	return Pointers{a.Q.Ptr, a.K.Ptr, a.V.Ptr, a.O.Ptr, a.LSE, a.Workspace, a.WorkspaceBytes}
}

// Commands is how many commands a run enqueues: launches, and clearings of memory.
func (p *Prepared) Commands() int {
	if p.records == nil {
		return 0
	}
	return len(p.records.records)
}
