package bench

import (
	"fmt"
	"strings"

	"github.com/minfc/minfc/cost"
	"github.com/minfc/minfc/internal/suggest"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/workload"
)

// Predict gives the cost model's figures for the machine of that name, "" for the first that the target has. It needs no
// device. Rounds, Seconds and Workload are not used.
func Predict(c Config, machine string) (*Report, error) {
	c.Rounds, c.Seconds, c.Workload = 0, 1, workload.Random
	if err := c.Check(); err != nil {
		return nil, err
	}
	m, err := findMachine(c.Target, machine)
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
	for _, n := range c.SeqLens {
		if err := c.predictLength(r, m, list, n); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (c Config) predictLength(r *Report, m cost.Machine, list []*subject, n int) error {
	dense := map[*subject]float64{}
	for _, s := range list {
		if err := checkStatic(s.schedule); err != nil {
			return err
		}
		row, err := s.row(c, n)
		if err != nil {
			return err
		}
		p, err := cost.Predict(m, s.work(c, n))
		if err != nil {
			return fmt.Errorf("%s: %w", s.pattern.Name, err)
		}
		row.AttentionMS, row.TotalMS, row.PredictedMS = p.Milliseconds, p.Milliseconds, &p.Milliseconds
		row.finish(r.Call, nil)
		dense[s] = p.Milliseconds
		r.Rows = append(r.Rows, row)
	}
	for i, s := range list {
		if s.baseline != nil {
			ratio := dense[s.baseline] / dense[s]
			r.Rows[len(r.Rows)-len(list)+i].VsDense = &ratio
		}
	}
	return nil
}

// work is the call for the cost model.
func (s *subject) work(c Config, n int) cost.Work {
	return cost.Work{HeadDim: c.HeadDim, DType: string(c.DType), RowTile: s.schedule.Tile.Rows, KeyTile: s.schedule.Tile.Keys,
		Batch: 1, QHeads: c.QHeads, KVHeads: c.KVHeads, SeqQ: n, SeqK: n, Schedule: s.schedule, Params: s.launch}
}

func findMachine(target, name string) (cost.Machine, error) {
	var names []string
	for _, m := range cost.Machines() {
		if target != "" && m.Target != target {
			continue
		}
		if name == "" || m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	if len(names) == 0 {
		return cost.Machine{}, fmt.Errorf("the cost model knows no machine with %s code", target)
	}
	return cost.Machine{}, fmt.Errorf("the cost model does not know %q, it has %s%s", name, strings.Join(names, ", "), suggest.Hint(name, names))
}

// deviceOf describes the machine as its driver would, as far as choosing a kernel needs it.
func deviceOf(m cost.Machine) (runtime.DeviceInfo, error) {
	var capability int
	if _, err := fmt.Sscanf(m.Target, "sm_%d", &capability); err != nil {
		return runtime.DeviceInfo{}, fmt.Errorf("internal: machine %s has the target %q", m.Name, m.Target)
	}
	return runtime.DeviceInfo{Name: m.Name, Major: capability / 10, Minor: capability % 10, Multiprocessors: m.Multiprocessors, L2Bytes: m.L2Bytes,
		MaxSharedBytes: 1 << 20}, nil // what the target has, the compiler has kept to
}
