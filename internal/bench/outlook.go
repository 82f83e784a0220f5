package bench

import (
	"fmt"

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

// PricedCall is a call of one pattern on all heads.
type PricedCall struct {
	runtime.Shape
	Params map[string]int64 // launch parameters
}

// Expect prices a call of a loaded pattern on the machine of dev, or on one that runs the pattern's target if dev is not known.
func Expect(dev device.Info, l *runtime.Loaded, c PricedCall) (Outlook, error) {
	m, err := machineLike(dev, l.Build().Target)
	if err != nil {
		return Outlook{}, err
	}
	o, s := Outlook{Machine: m}, l.Patterns()[0].Schedule()
	if len(s.Index) > 0 {
		return o, o.dynamic(l, c)
	}
	if o.Low, err = priceStatic(m, l.Build(), s, c); err != nil {
		return o, err
	}
	o.High = o.Low
	o.Dense, err = priceDense(m, l.Build(), baselineOf(s), c)
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
func (o *Outlook) dynamic(l *runtime.Loaded, c PricedCall) error {
	p, err := l.Prepare(c.Shape, runtime.Part{Params: c.Params})
	if err != nil {
		return err
	}
	e, err := p.Expect(o.Machine)
	if err != nil {
		return err
	}
	dense := c
	dense.Params = nil
	if o.Dense, err = priceStatic(o.Machine, l.Build(), l.Patterns()[0].DenseSchedule(), dense); err != nil {
		return err
	}
	launch := o.Machine.LaunchMicros / 1e3
	o.Index, o.Low, o.High = e.Index, e.Index+e.Low+launch, e.Index+e.High+launch
	if !c.NoFallback {
		o.High = max(o.Low, min(o.High, e.Index+o.Dense))
	}
	if e.RunsDense {
		o.RunsDense, o.Index, o.Low, o.High = true, 0, o.Dense, o.Dense
	}
	return nil
}

// priceStatic is the time of a schedule that does not depend on data.
func priceStatic(m cost.Machine, b artifact.Build, s *ir.Schedule, c PricedCall) (float64, error) {
	p, err := cost.Predict(m, cost.Work{HeadDim: b.HeadDim, DType: b.DType, RowTile: s.Tile.Rows, KeyTile: s.Tile.Keys, Batch: c.Batch,
		QHeads: c.QHeads, KVHeads: c.KVHeads, SeqQ: c.SeqQ, SeqK: c.SeqK, QOffset: c.QOffset, Schedule: s, Params: c.Params})
	return p.Milliseconds, err
}

// priceDense is the time of a library pattern without sparsity.
func priceDense(m cost.Machine, b artifact.Build, name string, c PricedCall) (float64, error) {
	file, src, _ := patterns.Source(name)
	art, err := compile.Source(file, src, "", compile.Options{Target: b.Target, DType: b.DType, HeadDim: b.HeadDim}, nil)
	if err != nil {
		return 0, err
	}
	parts, err := art.ReadParts()
	if err != nil {
		return 0, fmt.Errorf("internal: %w", err)
	}
	c.Params = nil
	return priceStatic(m, b, parts[0][0].Schedule, c)
}
