package ir

// RowWork is what a kernel does for one row tile of one head.
type RowWork struct {
	Area   int64 // pairs that it computes: whole slots
	Packed int64 // the same if no listed column that a segment leaves out had a place in a slot
	Pairs  int64 // pairs that it keeps
}

// WorkCounter counts the work of row tiles of one head. It is safe for concurrent use.
type WorkCounter struct {
	launched *Launched
	lists    map[Source]lists
}

// CountWork prepares to count what a launch does for the head that sel was chosen for; sel may be nil for a schedule
// without lists.
func (l *Launched) CountWork(sel *Selection) (*WorkCounter, error) {
	read, err := l.readAll(sel)
	if err != nil {
		return nil, err
	}
	return &WorkCounter{l, read}, nil
}

// RowTile counts the work of row tile n. Time is proportional to the keys of its slots that are not full.
func (c *WorkCounter) RowTile(shape Shape, n int) RowWork {
	r := rowMarks{Launched: c.launched, lists: c.lists, rowBlock: c.launched.rowBlock(shape, n)}
	var w RowWork
	columns := make([]int64, len(r.segments)) // that count
	for _, t := range r.slots(c.lists, shape, n) {
		width := int64(BlockSize)
		if t.Source == SourceRange {
			width = int64(r.tile.Keys)
		}
		w.Area += width * int64(r.tile.Rows)
		if t.Source == SourceMeans {
			w.Packed += width * int64(r.tile.Rows)
			continue
		}
		pairs, keys := r.count(t)
		w.Pairs += pairs
		if t.Source.SingleKeys() {
			columns[t.Segment] += keys
		} else {
			w.Packed += width * int64(r.tile.Rows)
		}
	}
	for _, n := range columns {
		w.Packed += (n + BlockSize - 1) / BlockSize * BlockSize * int64(r.tile.Rows)
	}
	return w
}

// count returns how many pairs of a slot count, and how many of its keys are in one of them.
func (r *rowMarks) count(t SlotTile) (pairs, keys int64) {
	if t.Full && t.Source != SourceRange {
		return int64(r.last-r.first+1) * BlockSize, BlockSize
	}
	g := r.segments[t.Segment]
	for _, k := range r.keys(t) {
		rows := int64(g.rowsOf(k, r.rowBlock))
		if rows > 0 && !r.leftOut(g, k) {
			pairs, keys = pairs+rows, keys+1
		}
	}
	return pairs, keys
}

// rowsOf counts the rows of b that keep key k.
func (g launchedSegment) rowsOf(k int, b rowBlock) int {
	if k < 0 || k >= b.sk {
		return 0
	}
	first, last, some := g.clip(b.first, b.last, b.end)
	if !some {
		return 0
	}
	for _, x := range g.lo { // k >= x
		switch {
		case x.row:
			last = min(last, k-x.off)
		case k < x.off:
			return 0
		}
	}
	for _, x := range g.hi { // k < x
		switch {
		case x.row:
			first = max(first, k-x.off+1)
		case k >= x.off:
			return 0
		}
	}
	if len(g.tests) == 0 {
		return max(0, last-first+1)
	}
	n := 0
	for q := first; q <= last; q++ {
		if g.keeps(q, k, b.extent) {
			n++
		}
	}
	return n
}
