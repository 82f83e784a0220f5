package minfc

import (
	"sync"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// Recall says what share of the attention mass a call kept, head by head; package runtime has its methods. RowRange are rows that it looks at.
type (
	Recall   = runtime.PreparedRecall
	RowRange = runtime.RowRange
)

// SampleRows spreads up to count rows evenly over the seqQ rows of a call; the seed decides where the first one lies.
func SampleRows(seqQ, count int, seed uint64) RowRange {
	return runtime.SampleRows(seqQ, count, seed)
}

// PrepareRecall makes ready to say what share of the attention mass a call of this attention kept, on some of its rows: 64 of them, spread
// evenly, unless some are given. It is run behind the call, with the same pointers and the LSE that the call wrote. The first recall compiles
// and loads its kernels, as NewAttention did: prepare one at start-up. See [runtime.Recall.Prepare], and docs/recall.md for what is measured
// and what it costs.
func (a *Attention) PrepareRecall(call *Call, rows ...RowRange) (*Recall, error) {
	r, err := a.recall.load(a.dev, a.heads)
	if err != nil {
		return nil, err
	}
	return r.Prepare(call, rows...)
}

// loadedRecall is what an attention has loaded for recalls.
type loadedRecall struct {
	sync.Mutex
	loaded *runtime.Recall
}

func (r *loadedRecall) load(dev device.Device, heads Heads) (*runtime.Recall, error) {
	r.Lock()
	defer r.Unlock()
	if r.loaded != nil {
		return r.loaded, nil
	}
	kernels, err := recallKernels(heads.Dim, heads.DType)
	if err != nil {
		return nil, err
	}
	r.loaded, err = runtime.LoadRecall(dev, kernels)
	return r.loaded, err
}

func (r *loadedRecall) close() error {
	r.Lock()
	defer r.Unlock()
	if r.loaded == nil {
		return nil
	}
	return r.loaded.Close()
}

// recallKey is what kernels of recalls depend on: all attentions of a model share them.
type recallKey struct {
	headDim int
	dtype   abi.DType
}

var recalls sync.Map // of recallKey to what compiles once

func recallKernels(headDim int, dtype abi.DType) (*artifact.Recall, error) {
	own, _ := recalls.LoadOrStore(recallKey{headDim, dtype}, sync.OnceValues(func() (*artifact.Recall, error) { return compile.Recall(headDim, dtype, nil) }))
	return own.(func() (*artifact.Recall, error))()
}
