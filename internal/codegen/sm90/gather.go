package sm90

import (
	"slices"

	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// Slots of single keys that the caller gives. Their rows lie anywhere in K and V, and a box of a tensor map has rows that follow each other. So
// the fourth warp of the first warpgroup copies them, 16 bytes a lane, to where a box would have put them: eight lanes a row of a panel, four
// rows at a time. It follows the headers as the warp that loads V does, and its arrivals say that its part of a stage is there. What it wrote
// becomes visible to the matrix units, which read shared memory through another proxy, by a fence of the lanes that wrote.

const (
	chunkBytes = 16
	chunks     = panelBytes / chunkBytes // of a row of a panel
	rowsAtOnce = warpLanes / chunks
)

// readsRows says whether the kernel addresses rows of K and V itself.
func readsRows(s *ir.Schedule) bool {
	return slices.ContainsFunc(s.Lists(), func(l ir.Source) bool { return l.Kind == ir.SourceKeys })
}

// gather is the work of the warp that copies single keys, stage by stage: of K, once the walk has posted the stage in a buffer that is free,
// then of V. It has read a header before it arrives for K, and K holds the header until then.
func (k *kernel) gather(Value) {
	zero := lower.I32(0)
	start := gatheredStage{pipelineSlot{zero, zero}, tileID{zero, zero, zero}}
	end := lower.While(k.Builder, "gather", start,
		func(s gatheredStage) Value { return k.isPosted(s.pipelineSlot) },
		func(s gatheredStage) gatheredStage {
			p, tile := s.pipelineSlot, k.gatheredTile(s)
			slots := k.postedKeys(p.buffer)
			k.Converge()
			k.inTile(tile, func() { k.gatherSlots("k", k.layout.k, p.buffer, slots) })
			k.letGo(fullK, p.buffer)
			at := k.pipelineSlotOfV(p)
			if k.ring { // a wait sees one phase ahead at most, and V's is one of them
				k.await(k.barrierAt(posted, at.buffer), at.parity)
			} else {
				k.await(k.barrierAt(emptyV, at.buffer), k.Xor(at.parity, lower.I32(1)))
			}
			k.inTile(tile, func() { k.gatherSlots("v", k.layout.v, at.buffer, slots) })
			k.letGo(fullV, at.buffer)
			return gatheredStage{k.nextPipelineSlot(at), tile}
		})
	k.letGo(fullK, end.buffer)
}

// gatheredStage is what the loop of gather carries.
type gatheredStage struct {
	pipelineSlot
	tileID
}

func (s *gatheredStage) Values() []*Value {
	return append(s.pipelineSlot.Values(), s.tileID.Values()...)
}

// gatheredTile is whose stage it is: the same tile's as the one before, unless the header begins another one.
func (k *kernel) gatheredTile(s gatheredStage) tileID {
	if !k.queued {
		return s.tileID
	}
	first := k.has(k.headerFlags(s.buffer, 0), flagFirst)
	return lower.Choose(k.Builder, "another", first, s.tileID, func() tileID { return k.itemAt(s.buffer) })
}

// postedKeys reads of each slot of a header where its keys stand in the list, below 0 for a span: one register a slot.
func (k *kernel) postedKeys(buffer Value) (starts []Value) {
	for _, s := range k.postedSlots(buffer) {
		starts = append(starts, k.Select(k.has(s.flags, lower.FlagColumns), s.start, lower.I32(-1)))
	}
	return starts
}

// gatherSlots copies the slots of a stage that are single keys into a buffer, for the tile at k.At.
func (k *kernel) gatherSlots(tensor string, offset int, buffer Value, starts []Value) {
	base := k.MulBy(buffer, k.stageBytes)
	for i, start := range starts {
		at := k.Add(base, lower.I32(int64(offset+i*k.SlotKeys*panelBytes)))
		k.If("keys", k.ICmp(enum.IPredSGE, start, lower.I32(0)), func() { k.gatherSlot(tensor, at, start) })
	}
	k.CopyCommit()
	k.CopyWaitAll()
	k.AsmEffect("fence.proxy.async.shared::cta;", "~{memory}")
}

// gatherSlot starts the copies of one slot, to an offset in shared memory.
func (k *kernel) gatherSlot(tensor string, at, start Value) {
	column := k.ColumnsOf(k.ColumnSegment().From)
	var ids []Value // of the lane's keys
	for first := 0; first < k.SlotKeys; first += warpLanes {
		ids = append(ids, column(k.Add(start, k.Add(k.Lane, lower.I32(int64(first))))))
	}
	chunk := k.And(k.Lane, lower.I32(chunks-1))
	rows := k.TileRows(tensor, k.KVHead()).Narrow().Start().Shift(k.ZExt64(k.Shl(chunk, 4)))
	to := k.Add(k.shared, at)
	k.Repeat("rows", k.LShr(k.Lane, 3), func(row Value) (Value, Value) {
		id := k.ShuffleFrom(k.Select(k.ICmp(enum.IPredSLT, row, lower.I32(warpLanes)), ids[0], ids[1]), k.And(row, lower.I32(warpLanes-1)))
		swizzled := k.Shl(k.Xor(chunk, k.And(row, lower.I32(chunks-1))), 4)
		k.gatherRow(rows, id, k.Add(to, k.Add(k.MulBy(row, panelBytes), swizzled)), chunk)
		next := k.Add(row, lower.I32(rowsAtOnce))
		return next, k.ICmp(enum.IPredSLT, next, lower.I32(int64(k.SlotKeys)))
	})
}

// gatherRow starts the copies of the lane's chunk of every panel of a key's row. No key, and what is beyond the head dim, becomes zeros.
func (k *kernel) gatherRow(rows lower.Rows, id, to, chunk Value) {
	there := k.ICmp(enum.IPredNE, id, lower.I32(lower.NoColumn))
	from := rows.At(k.Select(there, id, lower.I32(0)))
	size := k.Select(there, lower.I32(chunkBytes), lower.I32(0))
	for p := range k.panels {
		own := size
		if left := (k.headDim - p*panelCols) * 2 / chunkBytes; left < chunks {
			own = k.Select(k.ICmp(enum.IPredSLT, chunk, lower.I32(int64(left))), size, lower.I32(0))
		}
		k.Copy16If(k.SharedAt(to, p*k.kvPanel), k.Offset(from, lower.I64(int64(p*panelBytes))), own)
	}
}

// expectSpans announces the bytes of the slots of a stage that are no single keys.
func (k *kernel) expectSpans(at Value, slots []slot) {
	bytes := lower.Value(lower.I32(0))
	for _, s := range slots {
		one := lower.I32(int64(k.panels * k.SlotKeys * panelBytes))
		bytes = k.Add(bytes, k.Select(k.has(s.flags, lower.FlagColumns), lower.I32(0), one))
	}
	k.AsmEffect("mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;", "r,r", at, bytes)
}
