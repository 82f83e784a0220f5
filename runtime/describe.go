package runtime

import (
	"fmt"

	"github.com/minfc/minfc/ir"
)

// Description says of a part of a prepared call what one needs to know who runs it in pieces: where its lists lie, what they depend on, and
// which keys its rows read.
type Description struct {
	Pattern string `json:"pattern"`
	Heads   []int  `json:"heads"` // of the layer
	// Span is the heads that buffers have room for, from the first to before the second: Heads and what lies between them.
	Span  [2]int `json:"span"`
	Lists Lists  `json:"lists"`
	// Why says why the call cannot be shared by devices that hold a piece of the sequence each; "" if it can.
	Why       string         `json:"why,omitempty"`
	ProbeRows int            `json:"probe_rows,omitempty"` // the last queries, which lists of heads are chosen from
	PoolRows  int            `json:"pool_rows,omitempty"`  // the keys of a pooled row, which lists of rows are chosen from
	Reads     [][2]int       `json:"reads"`                // ranges of keys, from the first to before the second, that rows may read beside what lists say
	Buffers   []BufferExtent `json:"buffers"`
}

// Lists says what the lists of a part belong to.
type Lists string

const (
	ListsNone  Lists = "none"  // the pattern has no lists
	ListsHeads Lists = "heads" // one list a head, which all rows walk
	ListsRows  Lists = "rows"  // a list for each block of rows
	ListsMixed Lists = "mixed" // both
)

// BufferExtent is where a buffer of a part lies in the workspace, in bytes. Type is i32, u32, f32, or elem, the type of the data.
type BufferExtent struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	At      int64  `json:"at"`
	Bytes   int64  `json:"bytes"`
	Passing bool   `json:"passing"` // free again when attention begins
}

// KeptBytes is how much of the workspace, from its start on, holds what attention reads.
func (p *Prepared) KeptBytes() int64 { return p.kept }

// Describe describes the parts of the call.
func (p *Prepared) Describe() ([]Description, error) {
	out := []Description{}
	for _, x := range p.parts {
		d, err := x.describe()
		if err != nil {
			return nil, x.wrap(err)
		}
		out = append(out, d)
	}
	return out, nil
}

func (p *preparedPart) describe() (Description, error) {
	c, schedule := p.call, p.pattern.schedule
	d := Description{Pattern: schedule.Name, Span: [2]int{c.head0, c.head0 + c.QHeads}, Lists: listsOf(p.pattern.choices), Heads: []int{}, Buffers: []BufferExtent{}}
	for h := range c.QHeads {
		if c.takesPart(h) {
			d.Heads = append(d.Heads, c.head0+h)
		}
	}
	launched, err := schedule.Bind(c.values)
	if err != nil {
		return d, err
	}
	d.Reads = launched.Reads(ir.Shape{Sq: c.SeqQ, Sk: c.SeqK, QOffset: c.QOffset})
	if p.bound != nil && p.stores {
		for _, b := range p.pattern.program.Buffers {
			extent := p.bound.Extent(b.Name)
			d.Buffers = append(d.Buffers, BufferExtent{b.Name, b.Type, p.bound.at(b.Name), extent.Bytes, extent.Passing})
		}
	}
	d.share(schedule, c.values)
	return d, nil
}

func listsOf(choices []choice) Lists {
	heads, rows := false, false
	for _, c := range choices {
		if c.source.Kind == ir.SourceBlocks {
			rows = true
		} else {
			heads = true
		}
	}
	switch {
	case heads && rows:
		return ListsMixed
	case heads:
		return ListsHeads
	case rows:
		return ListsRows
	}
	return ListsNone
}

// share finds out what choices are made from, and whether devices that hold a piece of the sequence each can make them.
func (d *Description) share(s *ir.Schedule, values map[string]int64) {
	if d.Lists == ListsMixed {
		d.Why = "it chooses for whole heads and for blocks of rows in one"
	}
	for _, g := range s.Segments {
		for _, b := range append(append([]ir.RowBound{}, g.RowLo...), g.RowHi...) {
			if off, err := b.Off.Eval(values); b.FromEnd && (err != nil || off != 0) {
				d.Why = "it counts rows from the end of the call"
			}
		}
	}
	for _, def := range s.Index {
		switch x := def.Value.(type) {
		case ir.Probe:
			if x.Last == nil {
				d.Why = "its probe has rows all over the sequence"
				continue
			}
			d.ProbeRows = max(d.ProbeRows, 1, clipped(*x.Last, values, 0))
		case ir.Pool:
			if d.PoolRows != 0 && d.PoolRows != x.Rows {
				d.Why = "it pools rows of two lengths"
			}
			d.PoolRows = x.Rows
		case ir.Select:
			if x.ByGroup {
				d.Why = fmt.Sprintf("the query heads of a kv head choose index %q together, and lists travel by query head; leave `shared by group` out", def.Name)
			} else if x.DependsOnLength() {
				d.Why = fmt.Sprintf("how many members index %q has depends on the length of a call", def.Name)
			}
		case ir.Antidiagonals:
			d.Why = fmt.Sprintf("index %q reads all keys for each block of rows", def.Name)
		}
	}
}
