package ir

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// The interpreter of a Schedule that reads lists. It walks the slots of the lists exactly as a kernel does.

// SlotTile is one step of a row tile: the Tile.Keys keys of a range, or BlockSize keys of a list. Of a list of columns Start is
// the index of the first one in the ascending list, as of a list of keys; of means it is the number of the first pool; else it is the first key. As in KeyTile, keys below 0 and keys that the
// segment does not keep are masked, unless Full: then every pair of every row in the tile counts.
type SlotTile struct {
	Start   int
	Segment int
	Source  SourceKind
	Full    bool
}

// lists are what the index stage of one head wrote for segments to read.
type lists struct {
	columns []int                  // ascending
	tiles   []int                  // ascending: tile L begins at the key s-L
	blocks  [][]int                // of each row block, descending; of given lists its entries
	holds   func(t, s, k int) bool // whether row block t, which begins at position s, holds key k
}

// readLists looks up what a source reads.
func readLists(sel *Selection, source Source) (lists, error) {
	set, ok := source.Chosen()
	if !ok {
		return lists{}, fmt.Errorf("internal: no list for the source %s", source)
	}
	chosen, err := sel.Find(source.Name)
	switch {
	case err != nil:
		return lists{}, err
	case chosen.Kind != set.Kind:
		return lists{}, fmt.Errorf("the selection has %s for %q, want %s", chosen.Kind, source.Name, set.Kind)
	}
	var l lists
	switch source.Kind {
	case SourceRuns:
		l.tiles = CoverTiles(chosen.Members)
		l.holds = func(_, s, k int) bool { return Covered(l.tiles, s-k+BlockSize-1) }
	case SourceSpans, SourceKeys: // which no segment leaves out
		l.blocks = chosen.Blocks
	case SourceBlocks:
		l.blocks = chosen.Blocks
		l.holds = func(t, _, k int) bool { return t < len(l.blocks) && slices.Contains(l.blocks[t], k/BlockSize) }
	default:
		l.columns = chosen.Members
		l.holds = func(_, _, k int) bool {
			_, found := slices.BinarySearch(l.columns, k)
			return found
		}
	}
	return l, nil
}

// readAll looks up everything that the segments read or leave out.
func (l *Launched) readAll(sel *Selection) (map[Source]lists, error) {
	out := map[Source]lists{}
	for _, g := range l.segments {
		sources := g.except[:len(g.except):len(g.except)]
		if g.source.Kind != SourceRange && g.source.Kind != SourceMeans {
			sources = append(sources, g.source)
		}
		for _, s := range sources {
			read, err := readLists(sel, s)
			if err != nil {
				return nil, err
			}
			out[s] = read
		}
	}
	return out, nil
}

// Slots lists what a kernel walks for row tile n, in order: the segments one after the other; a range as Tiles does; the runs
// nearest first, without the runs above all keys that the segment keeps, and ended by the first run below all of them; blocks and given lists
// as listed; columns up to the last one that the segment keeps for the last row; means of all pools before the row block.
func (l *Launched) Slots(sel *Selection, shape Shape, n int) ([]SlotTile, error) {
	read, err := l.readAll(sel)
	if err != nil {
		return nil, err
	}
	return l.slots(read, shape, n), nil
}

func (l *Launched) slots(read map[Source]lists, shape Shape, n int) []SlotTile {
	var out []SlotTile
	b := l.rowBlock(shape, n)
	for i, g := range l.segments {
		if g.source.Kind == SourceRange {
			for _, t := range g.tiles(i, l.tile.Keys, b) {
				out = append(out, SlotTile{Start: t.Start, Segment: i, Full: t.Full})
			}
			continue
		}
		for _, t := range g.slots(read[g.source], b) {
			out = append(out, SlotTile{Start: t.Start, Segment: i, Source: g.source.Kind, Full: t.Full})
		}
	}
	return out
}

// slots lists what the segment walks of its list.
func (g launchedSegment) slots(read lists, b rowBlock) []SlotTile {
	first, last, some := g.clip(b.first, b.last, b.end)
	if !some {
		return nil
	}
	top, bottom := g.to(last, b.extent), g.from(first)
	switch g.source.Kind {
	case SourceRuns:
		return g.runSlots(read.tiles, b, top, bottom)
	case SourceBlocks:
		return g.blockSlots(read.blocks, b, BlockSize)
	case SourceSpans:
		return g.blockSlots(read.blocks, b, 1)
	case SourceKeys:
		return keySlots(read.blocks, b)
	case SourceMeans:
		return g.meanSlots(b)
	default:
		return g.columnSlots(read.columns, b, top)
	}
}

func (g launchedSegment) runSlots(tiles []int, b rowBlock, top, bottom int) []SlotTile {
	var out []SlotTile
	for _, far := range tiles {
		start := b.first - far
		if start+BlockSize <= bottom {
			break
		}
		if start < top {
			out = append(out, SlotTile{Start: start, Full: g.full(start, start+BlockSize-1, b)})
		}
	}
	return out
}

// blockSlots are the entries of a row block, in units of so many keys.
func (g launchedSegment) blockSlots(blocks [][]int, b rowBlock, unit int) []SlotTile {
	if b.n >= len(blocks) {
		return nil
	}
	var out []SlotTile
	for _, block := range blocks[b.n] {
		start := block * unit
		out = append(out, SlotTile{Start: start, Full: g.full(start, start+BlockSize-1, b)})
	}
	return out
}

// keySlots are the single keys of a row block, BlockSize at a time.
func keySlots(keys [][]int, b rowBlock) (out []SlotTile) {
	if b.n >= len(keys) {
		return nil
	}
	for j := 0; j < len(keys[b.n]); j += BlockSize {
		out = append(out, SlotTile{Start: j})
	}
	return out
}

func (g launchedSegment) columnSlots(columns []int, b rowBlock, top int) []SlotTile {
	var out []SlotTile
	seen := sort.SearchInts(columns, top)
	for j := 0; j < seen; j += BlockSize {
		end := j + BlockSize - 1
		out = append(out, SlotTile{Start: j, Full: end < len(columns) && g.full(columns[j], columns[end], b)})
	}
	return out
}

// full says whether all rows of b keep the keys least..most of a list.
func (g launchedSegment) full(least, most int, b rowBlock) bool {
	return len(g.tests)+len(g.except) == 0 && !g.neverFull && g.from(b.last) <= least && most < g.fullTop(b)
}

// RowWith is Row for a schedule that reads lists: the keys that the launch keeps for query row i of the head that sel was
// chosen for. Of lists that the caller gives it says how often each key counts, up to 255 times.
func (l *Launched) RowWith(sel *Selection, shape Shape, i int) ([]byte, error) {
	if i < 0 || i >= shape.Sq {
		return nil, fmt.Errorf("query row %d does not exist, there are %d", i, shape.Sq)
	}
	read, err := l.readAll(sel)
	if err != nil {
		return nil, err
	}
	n := i / l.tile.Rows
	r := rowMarks{Launched: l, lists: read, rowBlock: l.rowBlock(shape, n), q: shape.QOffset + i, row: make([]byte, shape.Sk)}
	for _, t := range l.slots(read, shape, n) {
		if err := r.mark(t); err != nil {
			return nil, err
		}
	}
	return r.row, nil
}

// rowMarks collects the keys of the row at position q of a row tile.
type rowMarks struct {
	*Launched
	rowBlock
	lists map[Source]lists
	q     int
	row   []byte
}

// mark adds what one slot counts.
func (r *rowMarks) mark(t SlotTile) error {
	g := r.segments[t.Segment]
	for _, k := range r.keys(t) {
		outside := k < 0 || k >= len(r.row)
		switch {
		case !t.Full && (outside || !g.keeps(r.q, k, r.extent) || r.leftOut(g, k)):
		case outside:
			return fmt.Errorf("internal: a full tile covers key %d of %d", k, len(r.row))
		case g.source.Kind.Given() && r.row[k] < math.MaxUint8:
			r.row[k]++
		case r.row[k] != 0:
			return fmt.Errorf("internal: the pair of query %d and key %d counts twice", r.q, k)
		default:
			r.row[k] = 1
		}
	}
	return nil
}

// keys are the keys of a slot, masked ones included.
func (r *rowMarks) keys(t SlotTile) []int {
	width := BlockSize
	switch t.Source {
	case SourceMeans: // which are no keys
		return nil
	case SourceKeys:
		own := r.lists[r.segments[t.Segment].source].blocks[r.n]
		return own[t.Start:min(len(own), t.Start+BlockSize)]
	case SourceColumns:
		columns := r.lists[r.segments[t.Segment].source].columns
		return columns[t.Start:min(len(columns), t.Start+BlockSize)]
	case SourceRange:
		width = r.tile.Keys
	}
	out := make([]int, width)
	for i := range out {
		out[i] = t.Start + i
	}
	return out
}

// leftOut says whether key k is in a set that the segment leaves out.
func (r *rowMarks) leftOut(g launchedSegment, k int) bool {
	return slices.ContainsFunc(g.except, func(s Source) bool { return r.lists[s].holds(r.n, r.first, k) })
}
