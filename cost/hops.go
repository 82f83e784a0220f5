package cost

// Segments that hop over empty tiles. Once a walk has hopped, its place relative to the residues is always the same, so
// what follows is periodic: the walk from hop to hop is counted once, the rest is a division.

// cycle is the walk from one hop to the next, for a number of rows.
type cycle struct {
	rows     int   // of the row tile it was made for; 0: none yet
	offsets  []int // of the tiles' ends below the first one's
	distance int   // to the first tile after the next hop; 0: the walk never hops again
}

// hops counts the tiles between top and bottom in which the hop test may hold.
func (c *counter) hops(top, bottom, first, last int) int64 {
	t := c.band.tests[c.band.hop]
	if c.cycle.rows != last-first+1 {
		c.cycle = c.newCycle(last - first + 1)
	}
	count := int64(0)
	for e := top; e > bottom; e -= c.keys {
		next := t.NextTop(e, c.keys, first, last)
		switch {
		case next != e:
			return count + c.cycle.tiles(next-bottom, c.keys)
		case top-e >= t.Step*c.keys: // every phase has been met without a hop
			return count + int64(ceilDiv(e-bottom, c.keys))
		}
		count++
	}
	return count
}

// newCycle walks from a tile that a hop ended at. Only differences matter, so any rows and any such tile will do.
func (c *counter) newCycle(rows int) cycle {
	t := c.band.tests[c.band.hop]
	out := cycle{rows: rows}
	start, ok := c.afterHop(rows)
	if !ok {
		return out
	}
	for e := start; start-e <= t.Step*c.keys; e -= c.keys {
		next := t.NextTop(e, c.keys, 0, rows-1)
		if next != e {
			out.distance = start - next
			return out
		}
		out.offsets = append(out.offsets, start-e)
	}
	return out
}

// afterHop looks for a tile that a hop ends at.
func (c *counter) afterHop(rows int) (int, bool) {
	t := c.band.tests[c.band.hop]
	for e := 0; -e <= t.Step*c.keys; e -= c.keys {
		if next := t.NextTop(e, c.keys, 0, rows-1); next != e {
			return next, true
		}
	}
	return 0, false
}

// tiles counts those that end in the length below the first one's end, its own included.
func (y cycle) tiles(length, keys int) int64 {
	switch {
	case length <= 0:
		return 0
	case y.distance == 0:
		return int64(ceilDiv(length, keys))
	}
	count := int64(length/y.distance) * int64(len(y.offsets))
	for _, o := range y.offsets {
		if o < length%y.distance {
			count++
		}
	}
	return count
}
