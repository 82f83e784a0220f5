package bench

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/internal/outlook"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

// Run measures on a device. What fails at one length, for want of memory say, becomes the failure of its rows; the other
// lengths are measured all the same.
func Run(dev device.Device, c Config) (*Report, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	info := dev.Info()
	target, err := c.targetOn(info)
	if err != nil {
		return nil, err
	}
	list, err := c.subjects(info, target)
	if err != nil {
		return nil, err
	}
	if err := c.checkEmulation(info, list); err != nil {
		return nil, err
	}
	r := c.report(ToolBench, machineOf(info))
	r.Workload = Workload{Kind: string(c.Workload), Seed: c.Seed, Planted: c.Planted}
	if c.Planted && c.PlantedBlocks != BlocksApart {
		r.Workload.PlantedBlocks = c.PlantedBlocks
	}
	b := &bencher{Config: c, dev: dev, list: list, report: r, compileS: map[*subject]float64{}}
	defer b.close()
	if err := b.prepare(target); err != nil {
		return nil, err
	}
	for _, n := range c.SeqLens {
		if err := b.length(n); err != nil {
			b.fail(n, err)
		}
	}
	return r, nil
}

// targetOn is the target to measure.
func (c Config) targetOn(info device.Info) (string, error) {
	if c.Target != "" {
		return c.Target, compile.Runs(info, c.Target)
	}
	target, _, err := compile.TargetOn(info)
	return target, err
}

// bencher is one run.
type bencher struct {
	Config
	dev      device.Device
	list     []*subject
	report   *Report
	watch    *deviceWatch
	recall   *runtime.Recall
	compileS map[*subject]float64
}

// prepare loads the kernels and measures the card.
func (b *bencher) prepare(target string) (err error) {
	for i, s := range b.list {
		b.step("loading kernels", i, len(b.list))
		start := time.Now()
		if err := s.load(b.dev); err != nil {
			return err
		}
		b.compileS[s] = time.Since(start).Seconds()
	}
	if b.watch, err = newWatch(b.dev, nil); err != nil {
		return err
	}
	kernels, err := compile.Recall(b.HeadDim, b.DType, nil)
	if err != nil {
		return err
	}
	if b.recall, err = runtime.LoadRecall(b.dev, kernels); err != nil {
		return err
	}
	rate, err := probeRate(b.dev, abi.DType(b.DType), target)
	b.report.Rates = []Rate{rate}
	return err
}

func (b *bencher) close() {
	for _, s := range b.list {
		s.close()
	}
	if b.watch != nil {
		b.watch.close() // the figures are taken; the device is closed next
	}
	if b.recall != nil {
		b.recall.Close() // likewise
	}
}

// length measures every subject at one length.
func (b *bencher) length(n int) (err error) {
	spaces, err := b.workspaces(n)
	if err != nil {
		return err
	}
	m, err := b.newMemory(b.dev, n, spaces)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	rows := make([]Row, len(b.list))
	for i, s := range b.list {
		if rows[i], err = s.row(b.Config, n); err != nil {
			return err
		}
		rows[i].CompileS = b.compileS[s]
	}
	estimates, err := b.check(m, n, rows)
	if err != nil {
		return err
	}
	timings, err := b.time(m, n, estimates)
	if err != nil {
		return err
	}
	b.fill(rows, timings, n)
	b.report.Rows = append(b.report.Rows, rows...)
	return nil
}

// check runs every subject once on the first inputs and compares it with its baseline. It returns the milliseconds of
// these calls, by part.
func (b *bencher) check(m *memory, n int, rows []Row) (map[*subject][]float64, error) {
	estimates := map[*subject][]float64{}
	var reference *subject // whose results lie in outputs[1]
	for i, s := range b.list {
		b.step(Length(n)+": checking", i, len(b.list))
		var err error
		if s.baseline != nil && s.baseline != reference {
			if estimates[s.baseline], err = b.once(m, s.baseline, n, m.outputs[1]); err != nil {
				return nil, err
			}
			if err := b.lookAt(m, n, s.baseline, m.outputs[1], &rows[slices.Index(b.list, s.baseline)]); err != nil {
				return nil, err
			}
			reference = s.baseline
		}
		if s.baseline == s {
			continue
		}
		err = b.fillLists(m, s, n)
		if err == nil {
			estimates[s], err = b.once(m, s, n, m.outputs[0])
		}
		if err == nil {
			err = b.countChosen(m, s, n, &rows[i])
		}
		if err == nil {
			err = b.lookAt(m, n, s, m.outputs[0], &rows[i])
		}
		if err == nil {
			err = b.compare(m, n, s, &rows[i])
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.pattern.Name, err)
		}
	}
	return estimates, nil
}

// compare fills in what s does to the result, if it has a baseline. What planted lists do to it says nothing.
func (b *bencher) compare(m *memory, n int, s *subject, r *Row) error {
	if s.baseline == nil {
		return nil
	}
	distance, err := b.distance(b.dev, n, m.outputs[0], m.outputs[1])
	if err == nil && !(b.Planted && s.dynamic()) {
		r.Error = &distance
	}
	return err
}

// once times each part of one call on the first inputs. The output is poisoned before, so that a row that is not written
// shows.
func (b *bencher) once(m *memory, s *subject, n int, out output) ([]float64, error) {
	heads := int64(b.QHeads) * int64(n)
	if err := errors.Join(b.dev.Fill(out.o, 0xff, heads*int64(b.HeadDim)*2, nil), b.dev.Fill(out.lse, 0xff, heads*4, nil)); err != nil {
		return nil, err
	}
	parts, err := b.parts(s, n)
	if err != nil {
		return nil, err
	}
	call, err := s.prepare(b.Config, n)
	if err != nil {
		return nil, err
	}
	var times []float64
	for _, p := range parts {
		ms, err := b.watch.time(func() error { return p.enqueue(call, m.pointers(s, m.sets[0], out)) })
		if err != nil {
			return nil, err
		}
		times = append(times, ms)
	}
	return times, nil
}

// timings has the times of the parts of a subject.
type timings map[part]Timing

// time runs the rounds: every part is a contender of its own.
func (b *bencher) time(m *memory, n int, estimates map[*subject][]float64) (map[*subject]timings, error) {
	var list []contender
	parts := map[*subject][]part{}
	for _, s := range b.list {
		var err error
		if parts[s], err = b.parts(s, n); err != nil {
			return nil, err
		}
		call, err := s.prepare(b.Config, n)
		if err != nil {
			return nil, err
		}
		for i, p := range parts[s] {
			list = append(list, contender{estimate: estimates[s][i], launch: func() error {
				return p.enqueue(call, m.pointers(s, m.next(), m.outputs[0]))
			}})
		}
	}
	results, err := interleave(b.watch, list, plan{rounds: b.Rounds, budget: 1e3 * b.Seconds, seed: b.Seed, progress: func(round, rounds int) {
		b.step(Length(n)+": measuring", round, rounds)
	}})
	if err != nil {
		return nil, err
	}
	out := map[*subject]timings{}
	for _, s := range b.list {
		out[s] = timings{}
		for _, p := range parts[s] {
			out[s][p], results = results[0], results[1:]
		}
	}
	return out, nil
}

// total is the time of all that was measured of a call.
func (t timings) total() Timing {
	if all, ok := t[whole]; ok {
		return all
	}
	return t[attention]
}

// attention is the time of the attention kernel alone.
func (t timings) attention() Timing {
	if alone, ok := t[attention]; ok {
		return alone
	}
	return t[whole]
}

// fill puts the times into the rows.
func (b *bencher) fill(rows []Row, of map[*subject]timings, n int) {
	for i, s := range b.list {
		r, t := &rows[i], of[s].total()
		r.TotalMS, r.LowMS, r.HighMS, r.Rounds = t.Median, t.Low, t.High, t.Rounds
		r.IndexMS, r.AttentionMS = of[s][index].Median, of[s].attention().Median
		if s.baseline != nil {
			ratio := of[s.baseline].total().Median / t.Median
			r.VsDense = &ratio
		}
		if m, known := cost.MachineFor(outlook.Device(b.dev.Info()), s.build.Target); known && !s.dynamic() {
			if p, err := cost.Predict(m, s.work(b.Config, n)); err == nil {
				r.PredictedMS = &p.Milliseconds
			}
		}
		r.finish(b.report.Call, b.report.Rates)
	}
}

// fail records why a length has no figures.
func (b *bencher) fail(n int, err error) {
	b.note("%s: %v", Length(n), err)
	for _, s := range b.list {
		b.report.Rows = append(b.report.Rows, Row{Implementation: "minfc " + s.build.Target, Pattern: s.pattern.Name, Params: s.values,
			SeqLen: n, Kernel: s.digest, Failure: err.Error()})
	}
}
