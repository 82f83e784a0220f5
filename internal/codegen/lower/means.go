package lower

import (
	"math"
	"math/bits"
	"slices"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/ir"
)

// Means of pools of keys, which stand for what a row block drops of them (ir/means.go). Their K and V are rows of copies that the index
// stage makes, so slots of means are loaded as slots of compacted columns are, and no kernel has both. What is their own is the mask: a mean
// that stands for n keys has ln n added to its logit, one that stands for none is left out. All rows of the row block drop the same keys.
//
// n follows from the bits of the key blocks that the data chose for the row block, and from the bounds of the segments. Each thread finds it for
// the two pools of every eight that its scores are of: nothing is shared, and no warp has to be ahead of the others.

// HasMeans says whether slots of copies are means.
func (k *RowTile) HasMeans() bool { return k.hasSource(ir.SourceMeans) }

// HasCopies says whether some slots are rows of copies of K and V, or single keys that are copied one by one.
func (k *RowTile) HasCopies() bool { return k.HasColumns() || k.HasMeans() }

// kept is the buffer with a bit for every key block that was chosen for a row block.
var kept = listBuffer{"kept", "kept_words"}

// pools is how many pools stand before the tile's row block: ir.Pools.
func (k *RowTile) pools(s Segment) Value {
	end := k.Min(k.Length("sk"), k.Add(k.First(), I32(1)))
	return k.LShr(end, int64(bits.TrailingZeros(uint(s.Pool))))
}

// checkMeans refuses patterns for which kernels cannot say what is dropped.
func checkMeans(s *ir.Schedule) error {
	if _, has := s.Means(); !has {
		return nil
	}
	list := ir.Source{}
	for _, g := range s.Segments {
		switch {
		case len(g.Tests) > 0:
			return refuseLists("`else mean` stands for whole key blocks that are dropped, and a set with a step drops parts of them",
				"leave the step or `else mean` out", g.From)
		case g.From.Kind == ir.SourceRange || g.From.Kind == ir.SourceMeans:
		case g.From.Kind != ir.SourceBlocks:
			return refuseLists("`else mean` stands for whole key blocks that are dropped, and "+written(g.From)+" drops parts of them",
				"choose blocks, or leave `else mean` out", g.From)
		case list != ir.Source{} && list != g.From:
			return refuseLists("`else mean` beside two choices of blocks, "+written(list)+" and "+written(g.From)+", and a kernel reads one there",
				"choose once, with a larger budget", list, g.From)
		case s.ByGroup(g.From.Name):
			return refuseLists("`else mean` stands for what a head drops, and "+written(g.From)+" is one list for the heads of a group",
				"leave `shared by group` or `else mean` out", g.From)
		default:
			list = g.From
		}
	}
	return nil
}

// MeanScores adds to the scores of one strip of a slot of means what they stand for, and sets scores of means that stand for nothing to -inf. Eight
// columns at a time are behind a branch of their own: so no more than these are looked at, and ptxas does not hold what it needs for all of
// them at once beside the scores.
func (k *RowTile) MeanScores(s []Value, sl Slot) []Value {
	seg := k.ColumnSegment()
	end, none := k.pools(seg), slices.Repeat([]Value{NegInf()}, 4)
	var out []Value
	for col := 0; col < k.SlotKeys; col += 8 {
		some := k.ICmp(enum.IPredSLT, k.Add(sl.Start, I32(int64(col))), end)
		own := s[col/2:][:4]
		out = append(out, k.ChooseAll("means", some, none, func() []Value { return k.weighted(own, k.Add(k.threadKey(sl.Start), I32(int64(col))), seg) })...)
	}
	return out
}

// weighted are the scores of a pool and the next one, in two rows, with what the pools stand for.
func (k *RowTile) weighted(s []Value, pool Value, seg Segment) []Value {
	end, toScore := k.pools(seg), k.Rcp(k.scale())
	out := make([]Value, len(s))
	for c, n := range k.droppedBlocks(k.newComputedBlocks(), pool, seg.Pool/ir.BlockSize) {
		there := k.And(k.ICmp(enum.IPredSLT, k.Add(pool, I32(int64(c))), end), k.ICmp(enum.IPredNE, n, I32(0)))
		log := k.FAdd(k.Log2(k.Block.NewSIToFP(n, types.Float)), F32(math.Log2(ir.BlockSize)))
		more := k.FMul(log, toScore) // the scale of a call comes with the exponent
		for r := range 2 {
			out[2*r+c] = k.Select(there, k.FAdd(s[2*r+c], more), NegInf())
		}
	}
	return out
}

// droppedBlocks are the numbers of key blocks that the row block drops of a pool and of the next one, so many blocks each. The bits of both lie
// in one word: the first one's number is even.
func (k *RowTile) droppedBlocks(computed computedBlocks, pool Value, blocks int) (out [2]Value) {
	block := k.MulBy(pool, blocks)
	drops := k.ShrClamp(k.Not(k.computedWord(computed, k.LShr(block, 5))), k.And(block, I32(31)))
	for c := range out {
		out[c] = k.Popc(k.And(k.LShr(drops, int64(c*blocks)), I32(1<<blocks-1)))
	}
	return out
}

// computedBlocks say which key blocks the tile computes: ranges of them, and bits of a list between two blocks.
type computedBlocks struct {
	ranges, lists [][2]Value // first block, and the block after the last
	bits          Value      // where the bits of the row block begin
}

func (k *RowTile) newComputedBlocks() (out computedBlocks) {
	for _, s := range k.Segs {
		switch s.From.Kind {
		case ir.SourceRange:
			out.ranges = append(out.ranges, k.blocksOf(s))
		case ir.SourceBlocks:
			out.lists = append(out.lists, k.blocksOf(s))
		}
	}
	if len(out.lists) > 0 {
		out.bits = k.listStart(ir.SourceOfMeans, kept)
	}
	return out
}

// blocksOf are the key blocks of which the bounds of a segment keep a pair in some row of the tile. Bounds have slope 0 or 1, so these are
// the blocks that the keys from the first row's lower side to the last row's upper side touch, if every row's lower side is below its upper
// one somewhere: bounds of one slope must not cross.
func (k *RowTile) blocksOf(s Segment) [2]Value {
	top, bottom := k.Top(s), k.Bottom(s)
	some := k.ICmp(enum.IPredSLT, bottom, top)
	for _, lo := range s.Lo {
		for _, hi := range s.Hi {
			if lo.Row && hi.Row {
				some = k.And(some, k.ICmp(enum.IPredSLT, lo.Off, hi.Off))
			}
		}
	}
	end := k.LShr(k.Add(k.Max(top, I32(0)), I32(ir.BlockSize-1)), 6)
	return [2]Value{k.LShr(bottom, 6), k.Select(some, end, I32(0))}
}

// computedWord has the bits of 32 key blocks from block 32*word on.
func (k *RowTile) computedWord(c computedBlocks, word Value) Value {
	from := k.Shl(word, 5)
	within := func(blocks [][2]Value) Value {
		in := Value(I32(0))
		for _, b := range blocks {
			in = k.Or(in, k.And(k.notBelow(k.Sub(b[0], from)), k.Not(k.notBelow(k.Sub(b[1], from)))))
		}
		return in
	}
	out := within(c.ranges)
	if len(c.lists) == 0 {
		return out
	}
	return k.Or(out, k.And(within(c.lists), k.entry(c.bits, word)))
}
