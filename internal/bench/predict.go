package bench

import (
	"fmt"

	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/internal/outlook"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// Predict gives the cost model's figures for the machine of that name, "" for the first, and its best target unless c names one. It
// needs no device. Rounds, Seconds and Workload are not used.
func Predict(c Config, machine string) (*Report, error) {
	c.Rounds, c.Seconds, c.Workload = 0, 1, workload.Random
	if err := c.Check(); err != nil {
		return nil, err
	}
	m, err := outlook.FindMachine(c.Target, machine)
	if err != nil {
		return nil, err
	}
	dev, err := deviceOf(m)
	if err != nil {
		return nil, err
	}
	list, err := c.subjects(dev, m.Target)
	if err != nil {
		return nil, err
	}
	r := c.report(ToolPredict, Machine{Name: m.Name, Multiprocessors: m.Multiprocessors})
	p := &predictor{c, r, m.Name, list}
	defer p.close()
	if err := p.load(); err != nil {
		return nil, err
	}
	for _, n := range c.SeqLens {
		if err := p.length(n); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// predictor is one run of Predict.
type predictor struct {
	Config
	report  *Report
	machine string
	list    []*subject
}

// load reads the kernels whose plans of an index stage are priced, on an emulator that launches nothing.
func (p *predictor) load() error {
	for _, s := range p.list {
		if !s.dynamic() {
			continue
		}
		dev, err := emu.Open(emu.Options{})
		if err != nil {
			return err
		}
		if err := s.load(dev); err != nil {
			return err
		}
	}
	return nil
}

func (p *predictor) close() {
	for _, s := range p.list {
		s.close()
	}
}

func (p *predictor) length(n int) error {
	times := map[*subject]float64{}
	for _, s := range p.list {
		row, err := s.row(p.Config, n)
		if err != nil {
			return err
		}
		m, err := outlook.FindMachine(s.build.Target, p.machine) // an artifact may lack the best target
		if err != nil {
			return err
		}
		if s.dynamic() {
			err = p.priceLists(&row, s, m, n)
		} else {
			row.AttentionMS, err = outlook.Static(m, s.build, s.schedule, p.call(s, n))
			row.TotalMS = row.AttentionMS
		}
		if err != nil {
			return err
		}
		row.PredictedMS, times[s] = ptr(row.TotalMS), row.TotalMS
		row.finish(p.report.Call, nil)
		p.report.Rows = append(p.report.Rows, row)
	}
	for i, s := range p.list {
		if s.baseline != nil {
			p.report.Rows[len(p.report.Rows)-len(p.list)+i].VsDense = ptr(times[s.baseline] / times[s])
		}
	}
	return nil
}

func (p *predictor) call(s *subject, n int) outlook.Call {
	return outlook.Call{Shape: p.shape(n), Params: s.launch}
}

// priceLists prices a pattern whose budgets say how much work its lists are, whatever the data moves: blocks by their number. The
// counts are of lists with as many blocks anywhere.
func (p *predictor) priceLists(r *Row, s *subject, m cost.Machine, n int) error {
	o, err := outlook.Dynamic(m, s.kernels, p.call(s, n))
	if err != nil {
		return fmt.Errorf("%s: %w", s.pattern.Name, err)
	}
	if o.High > 1.001*o.Low {
		return fmt.Errorf("what %s keeps is decided by the data: %s to %s ms at length %s on %s, dense attention %s ms; minfc bench measures it on a GPU",
			s.pattern.Name, milliseconds(o.Low), milliseconds(o.High), Length(n), m.Name, milliseconds(o.Dense))
	}
	r.TotalMS, r.IndexMS, r.AttentionMS = o.Low, o.Index, o.Low-o.Index
	if o.RunsDense {
		r.DenseHeads = p.QHeads
	}
	chosen := make([]runtime.Chosen, p.QHeads)
	for h, sel := range s.plant(p.Config, n) {
		chosen[h] = runtime.Chosen{Asked: sel, Kept: sel, Dense: o.RunsDense}
	}
	call, err := s.prepare(p.Config, n)
	if err != nil {
		return err
	}
	r.WorkspaceBytes = call.Workspace()
	sum, err := s.countHeads(chosen, n)
	if err == nil {
		r.SampledBlocks = sum.Sampled
		s.setWork(r, sum.Pairs/int64(len(chosen)), sum.Area)
	}
	return err
}

func ptr[T any](v T) *T { return &v }

// work is the call for the cost model.
func (s *subject) work(c Config, n int) cost.Work {
	return cost.Work{HeadDim: c.HeadDim, DType: c.DType, RowTile: s.schedule.Tile.Rows, KeyTile: s.schedule.Tile.Keys,
		Batch: 1, QHeads: c.QHeads, KVHeads: c.KVHeads, SeqQ: n, SeqK: n, Schedule: s.schedule, Params: s.launch}
}

// deviceOf describes the machine as its driver would, as far as choosing a kernel needs it.
func deviceOf(m cost.Machine) (device.Info, error) {
	var capability int
	if _, err := fmt.Sscanf(m.Target, "sm_%d", &capability); err != nil {
		return device.Info{}, fmt.Errorf("internal: machine %s has the target %q", m.Name, m.Target)
	}
	return device.Info{Name: m.Name, Major: capability / 10, Minor: capability % 10, Multiprocessors: m.Multiprocessors, L2Bytes: m.L2Bytes,
		MaxSharedBytes: 1 << 20}, nil // what the target has, the compiler has kept to
}
