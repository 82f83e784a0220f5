// Package outlook says what the cost model expects of a call: for commands, and for programs without a device.
package outlook

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/internal/suggest"
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

// Call is a call of one pattern on all heads.
type Call struct {
	runtime.Shape
	Params map[string]int64 // launch parameters
}

// Expect prices a call of a loaded pattern on the machine of dev, or on one that runs the pattern's target if dev is not known.
func Expect(dev device.Info, l *runtime.Loaded, c Call) (Outlook, error) {
	m, err := machineLike(dev, l.Build().Target)
	if err != nil {
		return Outlook{}, err
	}
	return ExpectParts(m, l, c.Shape, runtime.Part{Params: c.Params})
}

// ExpectParts prices the heads of a layer, part by part: a part takes its share of what its pattern would take on all heads.
func ExpectParts(m cost.Machine, l *runtime.Loaded, s runtime.Shape, parts ...runtime.Part) (Outlook, error) {
	sum := Outlook{Machine: m, RunsDense: true}
	for _, p := range parts {
		if schedule := l.Patterns()[p.Pattern].Schedule(); schedule.Given() {
			return Outlook{Machine: m}, device.BadCall("%s reads lists that the caller gives with each run: what it takes depends on them, and nothing is expected of it", schedule.Name)
		}
		expect := static
		if len(l.Patterns()[p.Pattern].Schedule().Index) > 0 {
			expect = dynamic
		}
		o, err := expect(m, l, s, p)
		if err != nil {
			return Outlook{Machine: m}, err
		}
		sum.Index, sum.Low, sum.High, sum.Dense = sum.Index+o.Index, sum.Low+o.Low, sum.High+o.High, sum.Dense+o.Dense
		sum.RunsDense = sum.RunsDense && o.RunsDense
	}
	return sum, nil
}

// share is the part's of the heads.
func share(s runtime.Shape, p runtime.Part) float64 {
	if p.Heads == nil {
		return 1
	}
	return float64(len(p.Heads)) / float64(s.QHeads)
}

// static prices a part that does not depend on data.
func static(m cost.Machine, l *runtime.Loaded, s runtime.Shape, p runtime.Part) (Outlook, error) {
	schedule := l.Patterns()[p.Pattern].Schedule()
	ms, err := Static(m, l.Build(), schedule, Call{s, p.Params})
	if err != nil {
		return Outlook{}, err
	}
	dense, err := priceDense(m, l.Build(), BaselineOf(schedule), Call{Shape: s})
	ms *= share(s, p)
	return Outlook{Low: ms, High: ms, Dense: dense * share(s, p)}, err
}

// machineLike is the machine of a device; of the emulator and of unknown devices the first that runs the target.
func machineLike(dev device.Info, target string) (cost.Machine, error) {
	if m, known := cost.MachineFor(Device(dev), target); known {
		return m, nil
	}
	return FindMachine(target, "")
}

// Dynamic prices a pattern that the data decides.
func Dynamic(m cost.Machine, l *runtime.Loaded, c Call) (Outlook, error) {
	return dynamic(m, l, c.Shape, runtime.Part{Params: c.Params})
}

// dynamic prices a part that the data decides. Where dense attention is surely faster, it is what a launch runs.
func dynamic(m cost.Machine, l *runtime.Loaded, s runtime.Shape, part runtime.Part) (Outlook, error) {
	o := Outlook{Machine: m}
	p, err := l.Prepare(s, part)
	if err != nil {
		return o, err
	}
	e, err := p.Expect(m)
	if err != nil {
		return o, err
	}
	own := l.Patterns()[part.Pattern]
	if dense := own.DenseSchedule(); dense != nil {
		o.Dense, err = Static(m, l.Build(), dense, Call{Shape: s})
	} else { // no head falls back to it, so it is a comparison alone
		o.Dense, err = priceDense(m, l.Build(), BaselineOf(own.Schedule()), Call{Shape: s})
	}
	if err != nil {
		return o, err
	}
	o.Dense *= share(s, part)
	launch := m.LaunchMicros / 1e3
	o.Index, o.Low, o.High = e.Index, e.Index+e.Low+launch, e.Index+e.High+launch
	if !s.NoFallback && own.DenseSchedule() != nil {
		o.High = max(o.Low, min(o.High, e.Index+o.Dense))
	}
	if e.RunsDense {
		o.RunsDense, o.Index, o.Low, o.High = true, 0, o.Dense, o.Dense
	}
	return o, nil
}

// Static is the time of a schedule that does not depend on data.
func Static(m cost.Machine, b artifact.Build, s *ir.Schedule, c Call) (float64, error) {
	p, err := cost.Predict(m, cost.Work{HeadDim: b.HeadDim, DType: b.DType, RowTile: s.Tile.Rows, KeyTile: s.Tile.Keys, Batch: c.Batch,
		QHeads: c.QHeads, KVHeads: c.KVHeads, SeqQ: c.SeqQ, SeqK: c.SeqK, QOffset: c.QOffset, Schedule: s, Params: c.Params})
	return p.Milliseconds, err
}

// priceDense is the time of a library pattern without sparsity.
func priceDense(m cost.Machine, b artifact.Build, name string, c Call) (float64, error) {
	file, src, _ := patterns.Source(name)
	art, err := compile.Source(file, src, "", compile.Options{Target: b.Target, DType: b.DType, HeadDim: b.HeadDim}, nil)
	if err != nil {
		return 0, err
	}
	parts, err := art.ReadParts()
	if err != nil {
		return 0, fmt.Errorf("internal: %w", err)
	}
	return Static(m, b, parts[0][0].Schedule, c)
}

// BaselineOf is the library pattern without sparsity that keeps the pairs which a schedule thins out.
func BaselineOf(s *ir.Schedule) string {
	if s.Causal() {
		return "dense"
	}
	return "full"
}

// FindMachine is the machine of that name, "" for the first, with its rates for a target, "" for the newest that it has.
func FindMachine(target, name string) (cost.Machine, error) {
	var names []string
	var best *cost.Machine
	newer := func(m cost.Machine) bool {
		targets := compile.Targets()
		return best == nil || slices.Index(targets, m.Target) > slices.Index(targets, best.Target)
	}
	for _, m := range cost.Machines() {
		if target != "" && m.Target != target {
			continue
		}
		if name == "" {
			name = m.Name
		}
		if m.Name == name && newer(m) {
			best = &m
		}
		if !slices.Contains(names, m.Name) {
			names = append(names, m.Name)
		}
	}
	switch {
	case best != nil:
		return *best, nil
	case len(names) == 0:
		return cost.Machine{}, fmt.Errorf("the cost model knows no machine with %s code", target)
	}
	return cost.Machine{}, fmt.Errorf("the cost model does not know %q, it has %s%s", name, strings.Join(names, ", "), suggest.Hint(name, names))
}

// Device is a device as the cost model knows it.
func Device(d device.Info) cost.Device {
	return cost.Device{Name: d.Name, Multiprocessors: d.Multiprocessors, L2Bytes: d.L2Bytes}
}
