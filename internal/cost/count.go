package cost

import (
	"fmt"
	"math"

	"github.com/minfc/minfc/ir"
)

// Counts is what one launch has to compute. Counting takes time in the row tiles of one head, not in key tiles or pairs,
// as long as no segment has residue tests on both keys and distances.
type Counts struct {
	work  Work
	rows  []rowTile // of one head, in the order in which they are handed out
	total rowTile   // of one head
	pairs int64     // of one head
	keys  int       // that some row of a head may read
}

// rowTile is the number of key tiles that one block walks.
type rowTile struct{ full, edge int64 }

// Count counts the tiles and pairs of w.
func Count(w Work) (*Counts, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	bands, err := w.bands()
	if err != nil {
		return nil, err
	}
	c := &Counts{work: w}
	c.countTiles(bands)
	c.countKeys(bands)
	for _, b := range bands {
		n, err := b.pairs(w.QOffset, w.QOffset+w.SeqQ-1)
		if err != nil {
			return nil, err
		}
		c.pairs += n
	}
	return c, c.checkRange()
}

// Pairs are the query-key pairs that one head keeps, Tiles the row tile x key tile steps that its kernel computes.
func (c *Counts) Pairs() int64 { return c.pairs }
func (c *Counts) Tiles() int64 { return c.total.full + c.total.edge }

// FullTiles are the steps of Tiles that keep every pair, and need no mask.
func (c *Counts) FullTiles() int64 { return c.total.full }

// checkRange refuses work whose totals do not fit 63 bits.
func (c *Counts) checkRange() error {
	area := float64(c.total.full+c.total.edge+int64(len(c.rows))) * float64(c.work.RowTile) * float64(c.work.KeyTile)
	if area*c.copies() >= math.MaxInt64 {
		return fmt.Errorf("%.3g pairs are too many to count: want fewer than 2^63", area*c.copies())
	}
	return nil
}

// copies is the number of heads that do the same work.
func (c *Counts) copies() float64 { return float64(c.work.Batch) * float64(c.work.QHeads) }

func (c *Counts) countTiles(bands []band) {
	w := c.work
	counters := make([]counter, len(bands))
	for i, b := range bands {
		counters[i] = counter{band: b, keys: w.KeyTile}
	}
	n := (w.SeqQ + w.RowTile - 1) / w.RowTile
	c.rows = make([]rowTile, n)
	for i := range n {
		first := w.QOffset + i*w.RowTile
		last := min(first+w.RowTile, w.QOffset+w.SeqQ) - 1
		var r rowTile
		for j := range counters {
			t := counters[j].rowTile(first, last)
			r.full += t.full
			r.edge += t.edge
		}
		r.edge += w.meanSlots(first)
		c.total.full += r.full
		c.total.edge += r.edge
		c.rows[c.launchIndex(i)] = r
	}
}

// meanSlots are the slots of means before the row block that begins at a position. Each has a mask of its own, which is taken to cost what the
// mask of an edge does.
func (w Work) meanSlots(first int) int64 {
	g, has := w.Schedule.Means()
	if !has {
		return 0
	}
	return int64(ceilDiv(ir.Pools(g.Pool, first, w.SeqK), ir.BlockSize))
}

// launchIndex is where row tile i stands in the order of the grid.
func (c *Counts) launchIndex(i int) int {
	if c.work.Schedule.Order == ir.OrderLongestFirst {
		return len(c.rows) - 1 - i
	}
	return i
}

// countKeys bounds the keys that a head reads, taking each band from its lowest to its highest key.
func (c *Counts) countKeys(bands []band) {
	first, last := c.work.QOffset, c.work.QOffset+c.work.SeqQ-1
	for _, b := range bands {
		if first, last := b.clip(first, last); first <= last {
			c.keys += max(0, b.to(last)-b.from(first))
		}
	}
	c.keys = min(c.keys, c.work.SeqK)
}

// counter counts the tiles of one band. It remembers the last hop cycle.
type counter struct {
	band  band
	keys  int
	cycle cycle
}

// rowTile counts the tiles of the band in the rows first..last, by the cutting rules at ir.Segment.
func (c *counter) rowTile(first, last int) rowTile {
	from, to := c.band.clip(first, last)
	if from > to {
		return rowTile{}
	}
	top, bottom := c.band.to(to), c.band.from(from)
	if top <= bottom {
		return rowTile{}
	}
	if c.band.hop >= 0 {
		return rowTile{edge: c.hops(top, bottom, first, last)}
	}
	count := ceilDiv(top-bottom, c.keys)
	if len(c.band.tests) > 0 || c.band.neverFull || from > first || to < last {
		return rowTile{edge: int64(count)}
	}
	upper := min(count, ceilDiv(max(0, top-c.band.to(first)), c.keys))
	full := max(0, top-upper*c.keys-c.band.from(last)) / c.keys
	return rowTile{full: int64(full), edge: int64(count - full)}
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
