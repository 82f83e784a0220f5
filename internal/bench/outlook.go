package bench

import (
	"fmt"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// Outlook is what the cost model expects of one call, in milliseconds.
type Outlook struct {
	Machine   cost.Machine
	Index     float64 // choosing what to keep, a part of the others
	Low, High float64 // over the cheapest and the dearest lists that the data could choose; equal where nothing depends on it
	Dense     float64 // of the kernel without sparsity
	RunsDense bool    // which runs for all heads, whatever the data would choose
}

// Expect prices a call of a loaded kernel on the machine of dev, or on one that runs the kernel's target if dev is not known. The
// tensors of a are not looked at, and its budgets are the same for all heads.
func Expect(dev device.Info, k *runtime.LoadedKernel, a runtime.Attention) (Outlook, error) {
	m, err := machineLike(dev, k.Info().Target)
	if err != nil {
		return Outlook{}, err
	}
	o := Outlook{Machine: m}
	if len(k.Schedule().Index) > 0 {
		return o, o.dynamic(k, a)
	}
	if o.Low, err = priceStatic(m, k.Info(), k.Schedule(), a); err != nil {
		return o, err
	}
	o.High = o.Low
	o.Dense, err = priceDense(m, k, a)
	return o, err
}

// machineLike is the machine of a device; of the emulator and of unknown devices the first that runs the target.
func machineLike(dev device.Info, target string) (cost.Machine, error) {
	if m, known := cost.MachineFor(priced(dev), target); known {
		return m, nil
	}
	return findMachine(target, "")
}

// dynamic prices a pattern that the data decides. Where dense attention is surely faster, it is what a launch runs.
func (o *Outlook) dynamic(k *runtime.LoadedKernel, a runtime.Attention) error {
	e, err := k.Expect(o.Machine, a)
	if err != nil {
		return err
	}
	dense := a
	dense.Params = nil
	if o.Dense, err = priceStatic(o.Machine, k.Info(), k.DenseSchedule(), dense); err != nil {
		return err
	}
	launch := o.Machine.LaunchMicros / 1e3
	o.Index, o.Low, o.High = e.Index, e.Index+e.Low+launch, e.Index+e.High+launch
	if !a.NoFallback {
		o.High = max(o.Low, min(o.High, e.Index+o.Dense))
	}
	if e.RunsDense {
		o.RunsDense, o.Index, o.Low, o.High = true, 0, o.Dense, o.Dense
	}
	return nil
}

// priceStatic is the time of a schedule that does not depend on data.
func priceStatic(m cost.Machine, k artifact.Kernel, s *ir.Schedule, a runtime.Attention) (float64, error) {
	p, err := cost.Predict(m, cost.Work{HeadDim: k.HeadDim, DType: abi.DType(k.DType), RowTile: s.Tile.Rows, KeyTile: s.Tile.Keys, Batch: a.Batch,
		QHeads: a.QHeads, KVHeads: a.KVHeads, SeqQ: a.SeqQ, SeqK: a.SeqK, QOffset: a.QOffset, Schedule: s, Params: a.Params})
	return p.Milliseconds, err
}

// priceDense is the time of the library's pattern without sparsity whose softmax k thins out.
func priceDense(m cost.Machine, k *runtime.LoadedKernel, a runtime.Attention) (float64, error) {
	info, name := k.Info(), baselineOf(k.Schedule())
	file, src, _ := patterns.Source(name)
	art, err := compile.Source(file, src, "", compile.Options{Target: info.Target, DType: abi.DType(info.DType), HeadDim: info.HeadDim}, nil)
	if err != nil {
		return 0, err
	}
	s, err := ir.ParseSchedule(art.Manifest.Kernels[0].Schedule)
	if err != nil {
		return 0, fmt.Errorf("internal: %w", err)
	}
	a.Params = nil
	return priceStatic(m, art.Manifest.Kernels[0], s, a)
}
