package sm80

import (
	"math"
	"math/bits"
	"slices"

	llir "github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// cursor is where the block stands in its list of key tiles. The list is a table of pieces in shared memory: a piece is a
// run of tiles that share a segment and a kind, walked downwards from its top. In a range piece positions are keys, cut as
// ir.Segment says; in a list piece they are entries of the head's list, the first at the top. Registers are what this
// kernel is short of, so the piece's other numbers are read again when they are needed.
type cursor struct {
	end   Value // position after the current tile
	entry Value // address of the current piece in the table, plus its flags
	done  Value // 1 when there is no current tile
}

// Entries lie on 32 bytes: the low bits of their address are free for what every tile asks.
const (
	flagEdge  = 1
	flagList  = 2
	entryMask = ^int64(pieceBytes - 1)
)

// The words of an entry. After the last piece comes one without segment. The last two are the bounds between which a tile of
// a list is full; only list pieces have them.
const (
	wordTop = iota
	wordBottom
	wordFlags
	wordSegment
	wordFullBottom
	wordFullTop
)

const noSegment = -1

func (c *cursor) values() []*Value { return []*Value{&c.end, &c.entry, &c.done} }

// word reads one word of the current piece.
func (c cursor) word(k *kernel, i int) Value {
	return k.Load(types.I32, k.SharedAt(k.And(c.entry, lower.I32(entryMask)), 4*i), 4)
}

// walk is the cursor, and what a kernel with lists carries of the current step: its slots, and for slots of columns the
// bits of columnBits.
type walk struct {
	cursor
	slots []slot
	bits  []Value
}

func (w *walk) values() []*Value {
	out := w.cursor.values()
	for i := range w.slots {
		out = append(out, &w.slots[i].start, &w.slots[i].flags)
	}
	for i := range w.bits {
		out = append(out, &w.bits[i])
	}
	return out
}

func (w walk) clone() walk {
	w.slots, w.bits = slices.Clone(w.slots), slices.Clone(w.bits)
	return w
}

// startWalk fills the piece table and steps to the first tile. The table begins with a piece that is at its end.
func (k *kernel) startWalk() walk {
	table := k.Add(k.shared, lower.I32(int64(k.pieces)))
	k.put(table, k.writer(), lower.I32(0), lower.I32(math.MaxInt32), lower.I32(0), lower.I32(0))
	at := k.Add(table, lower.I32(pieceBytes))
	for i, s := range k.segments {
		for _, p := range k.cut(s) {
			at = k.putPiece(at, i, p)
		}
	}
	k.put(at, k.writer(), lower.I32(0), lower.I32(0), lower.I32(0), lower.I32(noSegment))
	k.Barrier()
	return k.nextStep(walk{cursor: cursor{end: lower.I32(0), entry: table}})
}

// nextStep steps to the slots of the next step. A kernel without lists has one slot, and derives it from the cursor.
func (k *kernel) nextStep(w walk) walk {
	if !k.lists() {
		return walk{cursor: k.advance(w.cursor)}
	}
	out := walk{cursor: w.cursor}
	for i := range k.keys / k.slotKeys {
		c := k.advance(out.cursor)
		if i > 0 {
			out.end, out.entry = c.end, c.entry // a step is there if its first slot is
		} else {
			out.cursor = c
		}
		out.slots = append(out.slots, k.resolve(c))
	}
	return out
}

// put writes an entry of the table if c holds.
func (k *kernel) put(at, c Value, words ...Value) {
	k.If("piece", c, nil, func() []Value {
		k.Store(k.Pack4(words[:4]...), k.SharedAt(at, 0), 16)
		for i, w := range words[4:] {
			k.Store(w, k.SharedAt(at, 4*(4+i)), 4)
		}
		return nil
	})
}

// writer says whether this thread writes the table for all.
func (k *kernel) writer() Value { return k.ICmp(enum.IPredEQ, k.ThreadX(), lower.I32(0)) }

// piece is a run of tiles from top down to bottom.
type piece struct {
	top, bottom Value
	flags       int64
	full        []Value // of a list: wordFullBottom and wordFullTop
}

// cut splits a segment's tiles for this row tile: upper edge, full, lower edge. The formulas are ir.Segment's.
func (k *kernel) cut(s lower.Segment) []piece {
	if s.From.Kind != ir.SourceRange {
		return []piece{k.listPiece(s)}
	}
	top, bottom := k.HiAt(s, k.last), k.LoAt(s, k.first)
	if s.NeverFull {
		return []piece{{top: top, bottom: bottom, flags: flagEdge}}
	}
	fullTop, fullBottom := k.HiAt(s, k.first), k.LoAt(s, k.last)
	log := int64(bits.TrailingZeros(uint(k.slotKeys)))
	upper := k.LShr(k.Add(k.Sub(top, fullTop), lower.I32(int64(k.slotKeys-1))), log)
	p1 := k.Sub(top, k.Shl(upper, log))
	full := k.LShr(k.Max(lower.I32(0), k.Sub(p1, fullBottom)), log)
	p2 := k.Sub(p1, k.Shl(full, log))
	return []piece{{top: top, bottom: k.Max(p1, bottom), flags: flagEdge}, {top: p1, bottom: p2}, {top: p2, bottom: bottom, flags: flagEdge}}
}

// putPiece writes a piece at an address, unless it is empty, and returns the address for the next.
func (k *kernel) putPiece(at Value, segment int, p piece) Value {
	some := k.ICmp(enum.IPredSGT, p.top, p.bottom)
	words := append([]Value{p.top, p.bottom, lower.I32(p.flags), lower.I32(int64(segment))}, p.full...)
	k.put(at, k.And(some, k.writer()), words...)
	return k.Select(some, k.Add(at, lower.I32(pieceBytes)), at)
}

// advance steps to the next tile: down the piece, over tiles without a residue where the segment says so
// (ir.Segment.Hop), to the next piece at its bottom.
func (k *kernel) advance(c cursor) cursor {
	from := k.Block
	end := k.Sub(c.end, k.stepOf(c))
	check, next := k.NewBlock("walk"), k.NewBlock("walk.next")
	tile, finish := k.NewBlock("walk.tile"), k.NewBlock("walk.end")
	from.NewBr(check)

	k.Enter(check)
	e, entry := k.Phi(end, from), k.Phi(c.entry, from)
	over := k.ICmp(enum.IPredSLE, e, cursor{entry: entry}.word(k, wordBottom))
	k.CondBr(over, next, tile)

	k.Enter(next)
	at := k.And(k.Add(entry, lower.I32(pieceBytes)), lower.I32(entryMask))
	v := k.Load(lower.Vec4, k.SharedAt(at, 0), 16)
	top, flagged := k.Lane4(v, wordTop), k.Or(at, k.Lane4(v, wordFlags))
	k.CondBr(k.ICmp(enum.IPredEQ, k.Lane4(v, wordSegment), lower.I32(noSegment)), finish, tile)

	k.Enter(tile)
	e2, entry2 := k.Phi(e, check), k.Phi(entry, check)
	lower.AddIncoming(e2, top, next)
	lower.AddIncoming(entry2, flagged, next)
	if hopped := k.hop(cursor{end: e2, entry: entry2}); hopped != e2 {
		k.CondBr(k.ICmp(enum.IPredEQ, hopped, e2), finish, check)
		lower.AddIncoming(e, hopped, tile)
		lower.AddIncoming(entry, entry2, tile)
	} else {
		k.Br(finish)
	}

	k.Enter(finish)
	out := cursor{k.Phi(e, next), k.Phi(entry, next), k.Phi(lower.I32(1), next)}
	for i, v := range []Value{e2, entry2, lower.I32(0)} {
		lower.AddIncoming((*out.values()[i]).(*llir.InstPhi), v, tile)
	}
	return out
}

// stepOf is how far the positions of the current piece go down a tile: a slot of keys, or one entry of a list.
func (k *kernel) stepOf(c cursor) Value {
	keys := lower.I32(int64(k.slotKeys))
	if !k.lists() {
		return keys
	}
	list := k.ICmp(enum.IPredNE, k.And(c.entry, lower.I32(flagList)), lower.I32(0))
	return k.Select(list, lower.I32(1), keys)
}

// hop moves the end down to the next tile that holds a residue of its segment's test; the caller checks it against the
// bottom. It returns the end itself when no segment hops.
func (k *kernel) hop(c cursor) Value {
	end, segment := c.end, Value(nil)
	for i, s := range k.segments {
		if s.Hop < 0 {
			continue
		}
		if segment == nil {
			segment = c.word(k, wordSegment)
		}
		mine := k.ICmp(enum.IPredEQ, segment, lower.I32(int64(i)))
		end = k.Select(mine, k.hopped(s.Tests[s.Hop], end), end)
	}
	return end
}

// hopped is the rule of ir.NextTop for one test.
func (k *kernel) hopped(t lower.TestValue, end Value) Value {
	keys := lower.I32(int64(k.slotKeys))
	if !t.Diag {
		rem := k.FloorMod(k.Sub(k.Sub(end, lower.I32(1)), t.Off), t.Step)
		return k.Select(k.ICmp(enum.IPredSGE, rem, keys), k.Sub(end, rem), end)
	}
	rem := k.FloorMod(k.Sub(k.Add(k.Sub(k.last, end), keys), t.Off), t.Step)
	reach := k.Add(k.Sub(k.last, k.first), lower.I32(int64(k.slotKeys-1)))
	jump := k.Add(lower.I32(int64(k.slotKeys-1)), k.Sub(t.Step, rem))
	return k.Select(k.ICmp(enum.IPredSGT, rem, reach), k.Sub(end, jump), end)
}
