package sm90

import (
	"slices"

	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// vote is the work of the warp that finds out which of a stage's columns count: after each header it reads the ids of its
// columns and whether runs cover them, and writes words for the masks. That takes two loads that depend on each other, about as
// long as K takes to land; the walk must not wait for them.
func (k *kernel) vote(Value) {
	zero := lower.I32(0)
	none := tileID{zero, zero, zero} // any tile, until a header says which
	start := voted{pipelineSlot{zero, zero}, votedTile{tileID: none}}
	k.inTile(none, func() { start.starts = k.ListStarts() })
	end := lower.While(k.Builder, "vote", start,
		func(v voted) Value { return k.isPosted(v.pipelineSlot) },
		func(v voted) voted {
			p, tile := v.pipelineSlot, k.postedTile(v.buffer, v.votedTile)
			k.inTile(tile.tileID, func() {
				k.In(k.WithStarts(k.At, tile.starts), func() { k.findWords(p.buffer) })
			})
			values := k.pipelineSlotOfV(p)
			if k.ring { // a wait sees one phase ahead at most, and V's is one of them
				k.await(k.barrierAt(posted, values.buffer), values.parity)
			}
			return voted{k.nextPipelineSlot(values), tile}
		})
	k.elected(func() { // consumers read flags before they see that it is the end
		k.storeFound(k.headerAt(end.buffer), nil)
	})
	k.letGo(fullK, end.buffer)
}

// voted is what the loop of vote carries.
type voted struct {
	pipelineSlot
	votedTile
}

func (v *voted) Values() []*Value { return append(v.pipelineSlot.Values(), v.votedTile.Values()...) }

func (v voted) Clone() voted { return voted{v.pipelineSlot, v.votedTile.Clone()} }

// votedTile is a row tile and where its lists begin (lower.RowTile.ListStarts).
type votedTile struct {
	tileID
	starts []Value
}

func (t *votedTile) Values() []*Value { return append(t.tileID.Values(), lower.Pointers(t.starts)...) }

func (t votedTile) Clone() votedTile { return votedTile{t.tileID, slices.Clone(t.starts)} }

// postedTile is whose stage it is: the same tile's as was, unless the header begins another one.
func (k *kernel) postedTile(buffer Value, was votedTile) votedTile {
	if !k.queued {
		return was
	}
	return lower.Choose(k.Builder, "another", k.has(k.headerFlags(buffer, 0), flagFirst), was, func() votedTile {
		is := votedTile{tileID: k.itemAt(buffer)}
		k.inTile(is.tileID, func() { is.starts = k.ListStarts() })
		return is
	})
}

// findWords writes what is found of a stage and tells the consumers.
func (k *kernel) findWords(buffer Value) {
	slots, header := k.postedSlots(buffer), k.headerAt(buffer)
	c := k.cover(k.look(slots))
	var flags []Value
	for i, s := range slots {
		flags = append(flags, k.Choose("vote", k.has(s.flags, lower.FlagColumns), s.flags, func() Value {
			words := k.slotWords(c, i)
			k.elected(func() { k.storeWords(header, i, words) }) // at once: words of all slots are too many for this warp's registers
			return k.dropFull(s.flags, words)
		}))
	}
	k.elected(func() { k.storeFound(header, flags) })
	k.letGo(fullK, buffer)
}

// storeWords stores the words of a slot's columns.
func (k *kernel) storeWords(header Value, slot int, words []Value) {
	for b := range k.blocks() {
		k.Store(k.Pack4(words[4*b:4*b+4]...), k.SharedAt(header, k.wordsAt(slot)+b*wordsBytes), 16)
	}
}

// storeFound stores the flags of a stage's slots as they matter to masks.
func (k *kernel) storeFound(header Value, flags []Value) {
	all := []Value{lower.I32(0), lower.I32(0), lower.I32(0), lower.I32(0)}
	copy(all, flags)
	k.Store(k.Pack4(all...), k.SharedAt(header, k.layout.header.found), 16)
}

// wordsAt is where the words of a slot lie in a header.
func (k *kernel) wordsAt(slot int) int { return k.layout.header.words + slot*k.blocks()*wordsBytes }

// columns are the columns in a stage's slots, as the lanes see them while it is found out which count: first their ids are read (look),
// then whether runs cover them (cover), then the lanes vote (slotWords).
type columns struct {
	ids     []Value   // of each half slot, this lane's
	covered [][]Value // of each half slot and row block, its lower.CoverWords
}

// look reads the ids; slots that are no columns have none.
func (k *kernel) look(slots []slot) (c columns) {
	none := lower.I32(lower.NoColumn)
	for _, s := range slots {
		c.ids = append(c.ids, k.ChooseAll("columns", k.has(s.flags, lower.FlagColumns), []Value{none, none}, func() []Value {
			at := k.Add(s.start, k.Lane)
			column := k.ColumnsOf(k.ColumnSegment().From)
			return []Value{column(at), column(k.Add(at, lower.I32(32)))}
		})...)
	}
	return c
}

func (k *kernel) cover(c columns) columns {
	for i := range c.ids {
		var none lower.Vectors
		for range k.blocks() {
			none = append(none, slices.Repeat([]Value{lower.I32(0)}, len(k.ColumnSegment().Except)))
		}
		there := k.AnyLane(k.ICmp(enum.IPredNE, c.ids[i], lower.I32(lower.NoColumn)))
		c.covered = append(c.covered, lower.Choose(k.Builder, "cover", there, none, func() (words lower.Vectors) {
			for b := range k.blocks() {
				words = append(words, k.CoverWords(c.ids[i], b))
			}
			return words
		})...)
	}
	return c
}

// slotWords are the words about a slot's columns, for each row block two that count and two that are open (lower.KeptColumns and
// OpenColumns).
func (k *kernel) slotWords(c columns, slot int) []Value {
	var open, out []Value
	for half := range 2 {
		open = append(open, k.OpenColumns(c.ids[2*slot+half]))
	}
	for b := range k.blocks() {
		for half := range 2 {
			n := 2*slot + half
			out = append(out, k.KeptColumns(c.ids[n], c.covered[n*k.blocks()+b], b))
		}
		out = append(out, open...)
	}
	return out
}

// dropFull takes the flag of columns off a slot of which all count for all rows: the consumers need not look.
func (k *kernel) dropFull(flags Value, words []Value) Value {
	return k.Select(k.AllColumns(words), k.And(flags, lower.I32(^lower.FlagColumns)), flags)
}
