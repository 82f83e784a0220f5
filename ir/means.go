package ir

import (
	"fmt"
	"slices"
	"sync"
)

// What a pattern drops may enter the softmax as means. Keys are cut into pools of Pattern.Pool neighbours, from key 0 on. A pool stands
// before a row block of BlockSize queries if all of its keys exist and none comes after the block's first query: so no mean holds a key that
// some query of the block may not see, and keys that fill no pool are left out when they are dropped.
//
// A key block (BlockSize keys, of which a pool holds whole ones) is dropped by a row block if the pattern keeps no pair of the two. Of a pool
// of which a row block drops n keys, n > 0, every query of the block has one more key: its logit is that of the mean of all of the pool's
// keys plus ln n, its value the mean of all of the pool's values. Output and LSE come from the softmax with these keys in it.
//
// With pools of one block that is the correction of FlashPrefill V2 (arXiv 2608.19758). Larger pools are the same with fewer keys; of a pool
// that is dropped in part, the mean of the whole stands for the part.

// PoolKeys are the numbers of keys that a pool may have.
var PoolKeys = []int{BlockSize, 2 * BlockSize, 4 * BlockSize, 8 * BlockSize}

// DroppedName is the name of the buffers and parameters for what means stand for, where chosen sets have their own names.
const DroppedName = "dropped"

// SourceOfMeans is what a segment of means reads: rows of pooled K and V.
var SourceOfMeans = Source{SourceMeans, DroppedName}

// CheckPool says whether a pool may have so many keys.
func CheckPool(keys int64) error {
	if !slices.Contains(PoolKeys, int(keys)) || int64(int(keys)) != keys {
		return fmt.Errorf("a mean of %d keys, want one of any of %v", keys, PoolKeys)
	}
	return nil
}

// Pools is how many pools of so many keys stand before the row block that begins at a position.
func Pools(pool, first, sk int) int { return min(sk, first+1) / pool }

// DroppedKeys says, of every pool before row block n of a call, how many of its keys the row block drops. keep is what the pattern keeps.
func DroppedKeys(pool int, keep func(q, k int) bool, shape Shape, n int) []int {
	first, last := shape.RowTile(n, BlockSize)
	out := make([]int, Pools(pool, first, shape.Sk))
	for block := range len(out) * pool / BlockSize {
		if !keepsSome(keep, first, last, block*BlockSize) {
			out[block*BlockSize/pool] += BlockSize
		}
	}
	return out
}

// keepsSome says whether a pair of the rows first..last and the key block from a key on is kept.
func keepsSome(keep func(q, k int) bool, first, last, from int) bool {
	for q := first; q <= last; q++ {
		for k := from; k < from+BlockSize; k++ {
			if keep(q, k) {
				return true
			}
		}
	}
	return false
}

// Means is the segment of means of a schedule; ok is false if it has none.
func (s *Schedule) Means() (g Segment, ok bool) {
	i := slices.IndexFunc(s.Segments, func(g Segment) bool { return g.From.Kind == SourceMeans })
	if i < 0 {
		return Segment{}, false
	}
	return s.Segments[i], true
}

// means checks the segment of means.
func (c *checker) means(s *Schedule) {
	seen := false
	for i, g := range s.Segments {
		if g.From.Kind != SourceMeans {
			if g.Pool != 0 {
				c.fail("segment %d: pools of %d keys, which only a segment of means has", i, g.Pool)
			}
			continue
		}
		bounds := len(g.Lo) + len(g.Hi) + len(g.RowLo) + len(g.RowHi) + len(g.Tests) + len(g.Except)
		switch err := CheckPool(int64(g.Pool)); {
		case err != nil:
			c.fail("segment %d: %w", i, err)
		case seen:
			c.fail("segment %d: a second segment of means, want one", i)
		case bounds > 0 || g.From != SourceOfMeans:
			c.fail("segment %d: means of %s with %d bounds, want them of %s without any", i, g.From, bounds, SourceOfMeans)
		}
		seen = true
	}
	if seen && s.Tile.Rows != BlockSize {
		c.fail("the tile has %d rows, want %d: what is dropped is said of blocks of that many rows", s.Tile.Rows, BlockSize)
	}
}

// DroppedKeys is what a kernel makes of the function of that name: of every pool before row tile n, how many of its keys no segment
// computes. sel may be nil for a schedule without lists.
func (l *Launched) DroppedKeys(sel *Selection, shape Shape, n int) ([]int, error) {
	read, err := l.readAll(sel)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(l.segments, func(g launchedSegment) bool { return g.source.Kind == SourceMeans })
	if i < 0 {
		return nil, nil
	}
	pool, r := l.segments[i].pool, rowMarks{Launched: l, lists: read, rowBlock: l.rowBlock(shape, n)}
	computed := make([]bool, shape.Sk)
	for _, t := range l.slots(read, shape, n) {
		for _, k := range r.keys(t) {
			if g := l.segments[t.Segment]; g.rowsOf(k, r.rowBlock) > 0 && !r.leftOut(g, k) {
				computed[k] = true
			}
		}
	}
	out := make([]int, Pools(pool, r.first, shape.Sk))
	for block := range len(out) * pool / BlockSize {
		if !slices.Contains(computed[block*BlockSize:(block+1)*BlockSize], true) {
			out[block*BlockSize/pool] += BlockSize
		}
	}
	return out, nil
}

// meanSlots are the slots of pools before a row block.
func (g launchedSegment) meanSlots(b rowBlock) (out []SlotTile) {
	for j := 0; j < Pools(g.pool, b.first, b.sk); j += BlockSize {
		out = append(out, SlotTile{Start: j})
	}
	return out
}

// PooledRows are the means of the rows of a tensor [n, d], one for each whole pool, as they are stored.
func PooledRows[F Float](x []F, d int, by Dropped) []float64 {
	out := make([]float64, len(x)/d/by.Pool*d)
	for i := range out {
		for row := range by.Pool {
			out[i] += float64(x[(i/d*by.Pool+row)*d+i%d])
		}
		if out[i] /= float64(by.Pool); by.Round != nil {
			out[i] = by.Round(out[i])
		}
	}
	return out
}

// Dropped is how a reference of attention takes in what is dropped.
type Dropped struct {
	Pool  int                   // keys of a pool
	Keys  func(row int) []int   // of each pool before query row i, how many keys its row block drops
	Round func(float64) float64 // what is stored of a mean; nil: the mean
}

// DroppedBy are the keys that a pattern drops in a call, counted once for each row block; keep is what it keeps.
func DroppedBy(pool int, keep func(q, k int) bool, shape Shape) func(row int) []int {
	blocks := make([]func() []int, (shape.Sq+BlockSize-1)/BlockSize)
	for n := range blocks {
		blocks[n] = sync.OnceValue(func() []int { return DroppedKeys(pool, keep, shape, n) })
	}
	return func(row int) []int { return blocks[row/BlockSize]() }
}

// MeanRow is the mean key and value that stand for Keys keys of a pool in the softmax of a query.
type MeanRow struct {
	K, V []float64
	Keys int
}

// Means are the means that query row i of a head sees, given its pooled keys and values [pools, d].
func (x *Dropped) Means(k, v []float64, d, row int) (out []MeanRow) {
	for pool, keys := range x.Keys(row) {
		if keys > 0 {
			out = append(out, MeanRow{k[pool*d:][:d], v[pool*d:][:d], keys})
		}
	}
	return out
}
