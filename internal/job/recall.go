package job

import (
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/summary"
	"github.com/minfc/minfc/runtime"
)

// loadRecall loads what says which share of the attention each head keeps. A call without rows or keys has no attention.
func (j *Job) loadRecall() error {
	if j.In.SeqQ == 0 || j.In.SeqK == 0 {
		j.console.Note("there is no recall: the input has no attention, with %d queries and %d keys", j.In.SeqQ, j.In.SeqK)
		return nil
	}
	kernels, err := compile.Recall(j.In.HeadDim, j.In.Format, nil)
	if err != nil {
		return err
	}
	j.recall, err = runtime.LoadRecall(j.dev, kernels)
	return failure.OfKernel(err)
}

// kept is what a run says of the attention that its heads keep; nil where nobody asked.
func (j *Job) kept(res runtime.HostResult) *summary.Recall {
	if len(res.Mass) == 0 {
		return nil
	}
	return summary.NewRecall(res.Mass, j.In.QHeads, len(res.MassRows)/len(res.Mass), j.In.SeqQ)
}
