package sm80

import (
	"math/bits"

	llir "github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/codegen/lower"
)

// walk is where the block stands in its list of key tiles. The list is a table of pieces in shared memory: a piece is a
// run of tiles that share a segment and a kind (edge or full), cut downwards from its top as ir.Segment says.
type walk struct {
	end    Value // exclusive end of the current tile's keys
	bottom Value // of the piece: tiles go on while end > bottom
	code   Value // segment<<1 | edge
	next   Value // index of the next piece
	done   Value // 1 when there is no current tile
	count  Value // pieces in the table; does not change
}

func (w *walk) values() []*Value { return []*Value{&w.end, &w.bottom, &w.code, &w.next, &w.done} }

// k0 is the first key of the current tile; it may be negative.
func (w walk) k0(k *kernel) Value { return k.Sub(w.end, lower.I32(int64(k.keys))) }

// startWalk fills the piece table and steps to the first tile.
func (k *kernel) startWalk() walk {
	count := lower.I32(0)
	for i, s := range k.segments {
		for _, p := range k.cut(s) {
			count = k.putPiece(count, i, p)
		}
	}
	k.Barrier()
	zero := lower.I32(0)
	return k.advance(walk{end: zero, bottom: zero, code: zero, next: zero, done: zero, count: count})
}

// piece is a run of tiles from top down to bottom.
type piece struct {
	top, bottom Value
	edge        bool
}

// cut splits a segment's tiles for this row tile: upper edge, full, lower edge. The formulas are ir.Segment's.
func (k *kernel) cut(s lower.Segment) []piece {
	top, bottom := k.HiAt(s, k.last), k.LoAt(s, k.first)
	if s.NeverFull {
		return []piece{{top, bottom, true}}
	}
	fullTop, fullBottom := k.HiAt(s, k.first), k.LoAt(s, k.last)
	log := int64(bits.TrailingZeros(uint(k.keys)))
	upper := k.LShr(k.Add(k.Sub(top, fullTop), lower.I32(int64(k.keys-1))), log)
	p1 := k.Sub(top, k.Shl(upper, log))
	full := k.LShr(k.Max(lower.I32(0), k.Sub(p1, fullBottom)), log)
	p2 := k.Sub(p1, k.Shl(full, log))
	return []piece{{top, k.Max(p1, bottom), true}, {p1, p2, false}, {p2, bottom, true}}
}

// putPiece appends a piece unless it is empty and returns the new count. One thread writes for all.
func (k *kernel) putPiece(count Value, segment int, p piece) Value {
	some := k.ICmp(enum.IPredSGT, p.top, p.bottom)
	writer := k.And(some, k.ICmp(enum.IPredEQ, k.ThreadX(), lower.I32(0)))
	code := int64(segment << 1)
	if p.edge {
		code |= 1
	}
	k.If("piece", writer, nil, func() []Value {
		at := k.SharedAt(k.Add(k.shared, k.Shl(count, 4)), k.pieces)
		k.Store(k.Pack4(p.top, p.bottom, lower.I32(code), lower.I32(0)), at, pieceBytes)
		return nil
	})
	return k.Select(some, k.Add(count, lower.I32(1)), count)
}

// advance steps to the next tile: down the piece, over tiles without a residue where the segment says so (ir.Segment.Hop),
// to the next piece at its bottom.
func (k *kernel) advance(w walk) walk {
	from := k.Block
	end := k.Sub(w.end, lower.I32(int64(k.keys)))
	check := k.NewBlock("walk")
	next, load := k.NewBlock("walk.next"), k.NewBlock("walk.load")
	hop, finish := k.NewBlock("walk.tile"), k.NewBlock("walk.end")
	from.NewBr(check)

	k.Enter(check)
	ph := []*llir.InstPhi{k.Phi(end, from), k.Phi(w.bottom, from), k.Phi(w.code, from), k.Phi(w.next, from)}
	k.CondBr(k.ICmp(enum.IPredSLE, ph[0], ph[1]), next, hop)

	k.Enter(next)
	k.CondBr(k.ICmp(enum.IPredSLT, ph[3], w.count), load, finish)

	k.Enter(load)
	v := k.Load(lower.Vec4, k.SharedAt(k.Add(k.shared, k.Shl(ph[3], 4)), k.pieces), pieceBytes)
	loaded := []Value{k.Lane4(v, 0), k.Lane4(v, 1), k.Lane4(v, 2), k.Add(ph[3], lower.I32(1))}
	k.Br(hop)

	k.Enter(hop)
	at := make([]Value, len(ph))
	for i, p := range ph {
		x := k.Phi(p, check)
		lower.AddIncoming(x, loaded[i], load)
		at[i] = x
	}
	if hopped := k.hop(at[0], at[2]); hopped != at[0] {
		k.CondBr(k.ICmp(enum.IPredEQ, hopped, at[0]), finish, check)
		for i, x := range []Value{hopped, at[1], at[2], at[3]} {
			lower.AddIncoming(ph[i], x, hop)
		}
	} else {
		k.Br(finish)
	}

	k.Enter(finish)
	out := walk{count: w.count}
	for i, v := range out.values() {
		inHop, inNext := lower.I32(0), lower.I32(1) // done
		if i < len(ph) {
			inHop, inNext = at[i], ph[i]
		}
		p := k.Phi(inHop, hop)
		lower.AddIncoming(p, inNext, next)
		*v = p
	}
	return out
}

// hop moves end down to the next tile that holds a residue of its segment's test; the caller checks it against bottom.
// It returns end itself when no segment hops.
func (k *kernel) hop(end, code Value) Value {
	for i, s := range k.segments {
		if s.Hop < 0 {
			continue
		}
		mine := k.ICmp(enum.IPredEQ, k.LShr(code, 1), lower.I32(int64(i)))
		end = k.Select(mine, k.hopped(s.Tests[s.Hop], end), end)
	}
	return end
}

// hopped is the rule of ir.NextTop for one test.
func (k *kernel) hopped(t lower.TestValue, end Value) Value {
	keys := lower.I32(int64(k.keys))
	if !t.Diag {
		rem := k.FloorMod(k.Sub(k.Sub(end, lower.I32(1)), t.Off), t.Step)
		return k.Select(k.ICmp(enum.IPredSGE, rem, keys), k.Sub(end, rem), end)
	}
	rem := k.FloorMod(k.Sub(k.Add(k.Sub(k.last, end), keys), t.Off), t.Step)
	reach := k.Add(k.Sub(k.last, k.first), lower.I32(int64(k.keys-1)))
	jump := k.Add(lower.I32(int64(k.keys-1)), k.Sub(t.Step, rem))
	return k.Select(k.ICmp(enum.IPredSGT, rem, reach), k.Sub(end, jump), end)
}
