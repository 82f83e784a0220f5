package sm80

import (
	"math"

	llir "github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// tileWalk is how a kernel steps through its key tiles. A position is what the loop carries of it.
type tileWalk interface {
	// start prepares the walk, after the block is located, and returns the position of the first step.
	start() position
	// slots are the keys of the step at p. They may be asked for more than once; it costs less than holding them.
	slots(p position) []lower.Slot
	// next is the position of the following step. Every thread of the block is there at once, and slots of the step before
	// are no longer needed.
	next(p position) position
}

// position is how far a walk has come. Where its tiles are pieces of ranges, at is the exclusive end of the current tile's keys, and piece
// the address of the current piece in the table, plus its flags: entries lie on 32 bytes, the low bits of their address are free for what
// every tile asks. In a queue, at is the number of the step's first slot, and piece is nil.
type position struct {
	at, piece Value
	done      Value // 1 when there is no step
}

func (p *position) Values() []*Value {
	switch {
	case p.at == nil: // the walk is over
		return nil
	case p.piece == nil:
		return []*Value{&p.at, &p.done}
	}
	return []*Value{&p.at, &p.piece, &p.done}
}

// pieces walks ranges of keys. They stand in a table of pieces in shared memory: a piece is a run of tiles that share a
// segment and a kind (edge or full), cut downwards from its top as ir.Segment says. Registers are what this kernel is
// short of, so the piece's bottom is read again when it is needed.
type pieces struct{ k *kernel }

// entryMask leaves the address of an entry.
const entryMask = ^int64(pieceBytes - 1)

// The words of an entry. After the last piece comes one without segment.
const (
	wordTop = iota
	wordBottom
	wordFlags
	wordSegment
)

const noSegment = -1

// word reads one word of the piece at an entry.
func (w pieces) word(entry Value, i int) Value {
	k := w.k
	return k.Load(types.I32, k.SharedAt(k.And(entry, lower.I32(entryMask)), 4*i), 4)
}

// start fills the piece table and steps to the first tile. The table begins with a piece that is at its end.
func (w pieces) start() position {
	k := w.k
	table := k.Add(k.shared, lower.I32(int64(k.table)))
	k.put(table, k.writer(), lower.I32(0), lower.I32(math.MaxInt32), lower.I32(0), lower.I32(0))
	at := k.Add(table, lower.I32(pieceBytes))
	for i, s := range k.Segs {
		for _, p := range k.Cut(s) {
			at = k.putPiece(at, i, p)
		}
	}
	k.put(at, k.writer(), lower.I32(0), lower.I32(0), lower.I32(0), lower.I32(noSegment))
	k.Barrier()
	return w.next(position{lower.I32(0), table, lower.I32(0)})
}

func (w pieces) slots(p position) []lower.Slot {
	k := w.k
	return []lower.Slot{{
		Start:   k.Sub(p.at, lower.I32(int64(k.SlotKeys))),
		Flags:   k.And(p.piece, lower.I32(lower.FlagEdge)),
		Segment: func() Value { return w.word(p.piece, wordSegment) },
	}}
}

// put writes an entry of the table if c holds.
func (k *kernel) put(at, c Value, words ...Value) {
	k.If("piece", c, func() {
		for i := 0; i < len(words); i += 4 {
			k.Store(k.Pack4(words[i:i+4]...), k.SharedAt(at, 4*i), 16)
		}
	})
}

// writer says whether this thread writes the table for all.
func (k *kernel) writer() Value { return k.ICmp(enum.IPredEQ, k.ThreadX(), lower.I32(0)) }

// putPiece writes a piece at an address, unless it is empty, and returns the address for the next.
func (k *kernel) putPiece(at Value, segment int, p lower.Piece) Value {
	some := k.ICmp(enum.IPredSGT, p.Top, p.Bottom)
	k.put(at, k.And(some, k.writer()), p.Top, p.Bottom, lower.I32(p.Flags), lower.I32(int64(segment)))
	return k.Select(some, k.Add(at, lower.I32(pieceBytes)), at)
}

// next steps to the next tile: down the piece, over tiles without a residue where the segment says so (ir.Segment.Hop), to
// the next piece at its bottom.
func (w pieces) next(p position) position {
	k := w.k
	from := k.Block
	end := k.Sub(p.at, lower.I32(int64(k.SlotKeys)))
	check, next := k.NewBlock("walk"), k.NewBlock("walk.next")
	tile, finish := k.NewBlock("walk.tile"), k.NewBlock("walk.end")
	from.NewBr(check)

	k.Enter(check)
	e, entry := k.Phi(end, from), k.Phi(p.piece, from)
	k.CondBr(k.ICmp(enum.IPredSLE, e, w.word(entry, wordBottom)), next, tile)

	k.Enter(next)
	at := k.And(k.Add(entry, lower.I32(pieceBytes)), lower.I32(entryMask))
	v := k.Load(lower.Vec4, k.SharedAt(at, 0), 16)
	top, flagged := k.Lane4(v, wordTop), k.Or(at, k.Lane4(v, wordFlags))
	k.CondBr(k.ICmp(enum.IPredEQ, k.Lane4(v, wordSegment), lower.I32(noSegment)), finish, tile)

	k.Enter(tile)
	e2, entry2 := k.Phi(e, check), k.Phi(entry, check)
	lower.AddIncoming(e2, top, next)
	lower.AddIncoming(entry2, flagged, next)
	if hopped := w.hop(e2, entry2); hopped != Value(e2) {
		k.CondBr(k.ICmp(enum.IPredEQ, hopped, e2), finish, check)
		lower.AddIncoming(e, hopped, tile)
		lower.AddIncoming(entry, entry2, tile)
	} else {
		k.Br(finish)
	}

	k.Enter(finish)
	return lower.Join(k.Builder, position{e, entry, lower.I32(1)}, next, position{e2, entry2, lower.I32(0)}, tile)
}

// hop moves the end down to the next tile that holds a residue of its segment's test; the caller checks it against the
// bottom. It returns the end itself when no segment hops.
func (w pieces) hop(end *llir.InstPhi, entry Value) Value {
	k := w.k
	out, segment := Value(end), Value(nil)
	for i, s := range k.Segs {
		if s.Hop < 0 {
			continue
		}
		if segment == nil {
			segment = w.word(entry, wordSegment)
		}
		mine := k.ICmp(enum.IPredEQ, segment, lower.I32(int64(i)))
		out = k.Select(mine, k.Hopped(s.Tests[s.Hop], out), out)
	}
	return out
}
