package sm90

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// The header of a stage: start and flags of each slot, then the words of its columns, 16 bytes a slot. It is freed with K.
const (
	slotBytes  = 8
	wordsAt    = 16
	wordsBytes = 16
)

// flagEnd is the flag of a header without stage: the walk is over.
const flagEnd = 4

// headerAt is the shared address of the header of the stage whose K is at a buffer.
func (k *kernel) headerAt(buffer Value) Value {
	return k.Add(k.shared, k.Add(k.Shl(buffer, 6), lower.I32(int64(k.layout.headers))))
}

// produce is the walk of the producer warp, all lanes alike except in copies.
func (k *kernel) produce() {
	k.elected(func() {
		at := k.qBarrier()
		k.expect(at, k.layout.k)
		k.load(copyOf{"q", k.layout.q, k.qPanel}, k.Row0(), k.BlockY(), k.BlockZ(), at)
	})
	k.kvHead = k.UDiv(k.BlockY(), k.Param("group"))
	p := place{lower.I32(0), lower.I32(1)}
	if k.HasLists() {
		p = k.produceSlots(p)
	} else {
		for i, s := range k.Segs {
			p = k.produceRange(p, i, s)
		}
	}
	k.await(k.barrierAt(emptyK, p.buffer), p.parity)
	k.elected(func() {
		k.Store(lower.I32(flagEnd), k.SharedAt(k.headerAt(p.buffer), 4), 4)
		k.arrive(k.barrierAt(fullK, p.buffer))
	})
}

// produceRange walks the pieces of a segment without lists, a stage a tile, and hops over tiles without a residue where the
// segment says so (ir.Segment.Hop).
func (k *kernel) produceRange(p place, number int, s lower.Segment) place {
	for _, x := range k.Cut(s) {
		v := k.While("piece", []Value{x.Top, p.buffer, p.parity},
			func(v []Value) Value { return k.ICmp(enum.IPredSGT, v[0], x.Bottom) },
			func(v []Value) []Value {
				end, at := v[0], place{v[1], v[2]}
				flags := lower.I32(x.Flags | int64(number)<<lower.SegmentShift)
				return k.tileOrHop(s, end, at, flags)
			})
		p = place{v[1], v[2]}
	}
	return p
}

// tileOrHop loads the tile that ends at end, or moves the end down to one that holds a residue.
func (k *kernel) tileOrHop(s lower.Segment, end Value, p place, flags Value) []Value {
	load := func() []Value {
		start := k.Sub(end, lower.I32(int64(k.SlotKeys)))
		next := k.stage(p, []slot{{start: start, flags: flags}})
		return []Value{start, next.buffer, next.parity}
	}
	if s.Hop < 0 {
		return load()
	}
	hopped := k.Hopped(s.Tests[s.Hop], end)
	return k.If("tile", k.ICmp(enum.IPredEQ, hopped, end), []Value{hopped, p.buffer, p.parity}, load)
}

// slot is one slot of a stage as the producer sees it.
type slot struct{ start, flags Value }

// stage loads one stage and returns the place of the next.
func (k *kernel) stage(p place, slots []slot) place {
	header, words := k.headerAt(p.buffer), k.slotWords(slots)
	k.await(k.barrierAt(emptyK, p.buffer), p.parity)
	k.elected(func() {
		for i, s := range slots {
			k.Store(k.PackVector(s.start, s.flags), k.SharedAt(header, i*slotBytes), slotBytes)
			if words != nil {
				k.Store(k.Pack4(words[i]...), k.SharedAt(header, wordsAt+i*wordsBytes), 16)
			}
		}
		k.loadTile("k", k.layout.k, fullK, p.buffer, slots)
	})
	v := k.placeOfV(p)
	k.await(k.barrierAt(emptyV, v.buffer), v.parity)
	k.elected(func() { k.loadTile("v", k.layout.v, fullV, v.buffer, slots) })
	return k.nextPlace(v)
}

// loadTile starts the copies of a stage's K or V.
func (k *kernel) loadTile(tensor string, offset int, full barrier, buffer Value, slots []slot) {
	at := k.barrierAt(full, buffer)
	k.expect(at, k.stageBytes)
	base := k.MulBy(buffer, k.stageBytes)
	for i, s := range slots {
		to := copyOf{tensor, offset + i*k.SlotKeys*panelBytes, k.kvPanel}
		ranges := func() { k.loadAt(to, base, s.start, k.kvHead, k.BlockZ(), at) }
		if !k.HasColumns() {
			ranges()
			continue
		}
		columns := k.ICmp(enum.IPredNE, k.And(s.flags, lower.I32(lower.FlagColumns)), lower.I32(0))
		k.IfElse("columns", columns, func() {
			to.tensor = lower.ListParam(k.ColumnSegment().From.Name, tensor+"c")
			k.loadAt(to, base, s.start, k.HeadIndex(), lower.I32(0), at)
		}, ranges)
	}
}

// copyOf is a copy: from which tensor, to which offset in shared memory, with which distance of panels there.
type copyOf struct {
	tensor        string
	offset, panel int
}

func (k *kernel) load(c copyOf, row, head, batch, barrier Value) {
	k.loadAt(c, lower.I32(0), row, head, batch, barrier)
}

// loadAt copies a box a panel. Boxes may lie outside the tensor in part or in all: zeros are written there, and they count.
func (k *kernel) loadAt(c copyOf, base, row, head, batch, barrier Value) {
	m := k.Asm(types.I64, "cvta.param.u64 $0, $1;", "=l,l", k.Param(mapOf(c.tensor)))
	for p := range k.panels {
		to := k.Add(k.Add(k.shared, base), lower.I32(int64(c.offset+p*c.panel)))
		k.AsmEffect("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1, {$2, $3, $4, $5}], [$6];",
			"r,l,r,r,r,r,r", to, m, lower.I32(int64(p*panelCols)), row, head, batch, barrier)
	}
}

// isRange says whether a segment's keys are a range, without a list.
func isRange(s lower.Segment) bool { return s.From.Kind == ir.SourceRange }
