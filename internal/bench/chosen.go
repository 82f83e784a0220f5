package bench

import (
	"fmt"
	"slices"

	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

// Patterns that data decides: their lists live in a workspace, and their work is counted from the lists.

// dynamic says that data decides what the pattern keeps.
func (s *subject) dynamic() bool { return len(s.schedule.Index) > 0 }

// part is what of a call is timed.
type part int

const (
	whole     part = iota
	index          // choosing alone
	attention      // over lists that are there already
)

// parts are the parts of a call that are timed at length n. Planted lists have no estimate, so attention is all there is; where dense
// attention is known to be faster, nothing is chosen.
func (c Config) parts(s *subject, n int) ([]part, error) {
	if !s.dynamic() {
		return []part{whole}, nil
	}
	if c.Planted {
		return []part{attention}, nil
	}
	call, err := s.prepare(c, n)
	if err != nil || !call.NeedsIndex() {
		return []part{whole}, err
	}
	return []part{whole, index, attention}, nil
}

func (p part) enqueue(call *runtime.Prepared, at runtime.Pointers) error {
	switch p {
	case index:
		return call.RunIndex(nil, at)
	case attention:
		return call.RunAttention(nil, at)
	default:
		return call.Run(nil, at)
	}
}

// workspaces are the bytes that each subject needs beside its tensors.
func (b *bencher) workspaces(n int) (map[*subject]int64, error) {
	out := map[*subject]int64{}
	for _, s := range b.list {
		call, err := s.prepare(b.Config, n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.pattern.Name, err)
		}
		if bytes := call.Workspace(); bytes > 0 {
			out[s] = bytes
		}
	}
	return out, nil
}

// fillLists puts lists into the workspaces of all inputs, planted ones or what the data chose.
func (b *bencher) fillLists(m *memory, s *subject, n int) error {
	if !s.dynamic() {
		return nil
	}
	var planted []*ir.Selection
	if b.Planted {
		planted = s.plant(b.Config, n)
	}
	call, err := s.prepare(b.Config, n)
	if err != nil {
		return err
	}
	for _, set := range m.sets {
		at := m.pointers(s, set, m.outputs[0])
		if !b.Planted {
			if err := call.RunIndex(nil, at); err != nil {
				return err
			}
		} else if err := call.WriteChosen(nil, at, planted); err != nil {
			return err
		}
	}
	return nil
}

// countedBlocks is how many row blocks are looked at, of all heads together.
const countedBlocks = 1 << 14

// countChosen fills in the work of a row from the lists in the first workspace.
func (b *bencher) countChosen(m *memory, s *subject, n int, r *Row) error {
	if !s.dynamic() {
		return nil
	}
	call, err := s.prepare(b.Config, n)
	if err != nil {
		return err
	}
	chosen, err := call.ReadChosen(nil, m.pointers(s, m.sets[0], m.outputs[0]))
	if err != nil {
		return err
	}
	r.IndexBytes, r.WorkspaceBytes = call.ListBytes(), m.spaces[s]
	sum, err := s.countHeads(chosen, n)
	if err != nil {
		return err
	}
	r.SampledBlocks = sum.Sampled
	for _, head := range chosen {
		if head.Dense {
			r.DenseHeads++
		}
	}
	area := sum.Area
	if b.Planted {
		area = sum.Packed
	}
	s.setWork(r, sum.Pairs/int64(len(chosen)), area)
	return nil
}

// ListWork is the work of all heads.
type ListWork struct {
	ir.RowWork
	Sampled int // row tiles of each head that it was counted on; 0 for all
}

// countHeads adds up the work of all heads, of which some may have run without sparsity.
func (s *subject) countHeads(chosen []runtime.Chosen, n int) (sum ListWork, err error) {
	for _, dense := range []bool{false, true} {
		schedule := s.schedule
		if dense {
			schedule = s.kernels.Patterns()[0].DenseSchedule()
		}
		heads := slices.DeleteFunc(slices.Clone(chosen), func(c runtime.Chosen) bool { return c.Dense != dense })
		if len(heads) == 0 {
			continue
		}
		launched, err := schedule.Bind(s.values)
		if err != nil {
			return sum, err
		}
		part, err := CountLists(launched, heads, ir.Shape{Sq: n, Sk: n}, schedule.Tile.Rows, max(1, countedBlocks/len(chosen)))
		if err != nil {
			return sum, err
		}
		sum.Area, sum.Packed, sum.Pairs = sum.Area+part.Area, sum.Packed+part.Packed, sum.Pairs+part.Pairs
		sum.Sampled = max(sum.Sampled, part.Sampled)
	}
	return sum, nil
}

// CountLists adds up the work of heads that run one schedule. Where they have more than most row tiles each, as many are
// counted, evenly spread, and stand for the others.
func CountLists(l *ir.Launched, chosen []runtime.Chosen, shape ir.Shape, rows, most int) (ListWork, error) {
	var sum ListWork
	tiles := (shape.Sq + rows - 1) / rows
	counted := min(tiles, most)
	if counted < tiles {
		sum.Sampled = counted
	}
	for _, head := range chosen {
		c, err := l.CountWork(head.Kept)
		if err != nil {
			return sum, err
		}
		for i := range counted {
			w := c.RowTile(shape, (2*i+1)*tiles/(2*counted))
			sum.Area, sum.Packed, sum.Pairs = sum.Area+w.Area, sum.Packed+w.Packed, sum.Pairs+w.Pairs
		}
	}
	for _, x := range []*int64{&sum.Area, &sum.Packed, &sum.Pairs} {
		*x = int64(float64(*x) * float64(tiles) / float64(counted))
	}
	return sum, nil
}

// inputs are tensors, and for each subject that has lists a workspace with the lists of these tensors.
type inputs struct {
	*workload.Tensors
	spaces map[*subject]device.Ptr
}
