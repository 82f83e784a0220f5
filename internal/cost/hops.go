package cost

// Segments that hop over empty tiles. Once a walk has hopped, its place relative to the residues is always the same, so
// what follows is periodic: the walk from hop to hop is counted once, the rest is a division.

// cycle is the walk from the tile that one hop ends at to the tile of the next hop, for a number of rows.
type cycle struct {
	rows     int   // of the row tile it was made for; 0: none yet
	offsets  []int // of the tiles' ends below the first one's
	distance int   // to the first tile after the next hop; 0: the walk never hops again
}

// hops counts the tiles between top and bottom in which the hop test may hold.
func (c *counter) hops(top, bottom, first, last int) int64 {
	t := c.band.tests[c.band.hop]
	count := int64(0)
	for e := top; e > bottom; e -= c.keys {
		if next := t.NextTop(e, c.keys, first, last); next != e {
			if c.cycle.rows != last-first+1 {
				c.cycle = c.newCycle(next, first, last)
			}
			return count + c.cycle.tiles(next-bottom, c.keys)
		}
		if c.allPhases(top - e) {
			return count + int64(ceilDiv(e-bottom, c.keys))
		}
		count++
	}
	return count
}

// allPhases says whether a walk of this length without a hop has met every residue it ever meets.
func (c *counter) allPhases(length int) bool {
	step := c.band.tests[c.band.hop].Step
	g, _ := bezout(step, c.keys)
	return length >= step/g*c.keys
}

// newCycle walks from a tile that a hop ended at. That takes few tiles: a residue further away than a tile and the rows
// together brings a hop at once, and nearer ones leave few phases to meet.
func (c *counter) newCycle(start, first, last int) cycle {
	t := c.band.tests[c.band.hop]
	out := cycle{rows: last - first + 1}
	for e := start; !c.allPhases(start - e); e -= c.keys {
		if next := t.NextTop(e, c.keys, first, last); next != e {
			out.distance = start - next
			break
		}
		out.offsets = append(out.offsets, start-e)
	}
	return out
}

// tiles counts the tiles that end in the length below the first one's end, its own included.
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
