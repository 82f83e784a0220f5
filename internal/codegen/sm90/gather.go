package sm90

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// Slots of single keys that the caller gives. Their rows lie anywhere in K and V, so each is a box of its own, one row high: the swizzle goes by
// addresses in shared memory, and a row lands where it would as part of a box of 64. All lanes of the warp that loads take part, two rows
// each, after one of them has announced the bytes of the whole stage.

// rowMap is the kernel parameter with the tensor map of a tensor in boxes of one row.
func rowMap(tensor string) string { return "map_row_" + tensor }

// rowMaps are these parameters.
func rowMaps(s *ir.Schedule) (out []lower.Param) {
	for _, l := range s.Lists() {
		if l.Kind == ir.SourceKeys {
			for _, tensor := range []string{"k", "v"} {
				out = append(out, lower.Param{Name: rowMap(tensor), Type: abi.MapType, Tensor: tensor, Box: [2]int{panelCols, 1}})
			}
		}
	}
	return out
}

// gather starts the copies of the slots of a stage that are such keys, in the buffer that a barrier says when it is full. All lanes must call
// it, for the tile at k.At, after the stage's bytes are announced.
func (k *kernel) gather(tensor string, offset int, full barrier, buffer Value, slots []slot) {
	if !k.GivenKeys() {
		return
	}
	to := copyOf{offset: offset, panel: k.kvPanel, base: k.MulBy(buffer, k.stageBytes), barrier: k.barrierAt(full, buffer)}
	for _, s := range slots {
		k.If("gather", k.has(s.flags, lower.FlagColumns), func() { k.gatherSlot(to, tensor, s) })
		to.offset += k.SlotKeys * panelBytes
	}
	k.Converge()
}

func (k *kernel) gatherSlot(to copyOf, tensor string, s slot) {
	rows := k.TileRows(tensor, k.KVHead())
	m := k.Asm(types.I64, "cvta.param.u64 $0, $1;", "=l,l", k.Param(rowMap(tensor)))
	column := k.ColumnsOf(k.ColumnSegment().From)
	for first := 0; first < k.SlotKeys; first += warpLanes {
		row := k.Add(k.Lane, lower.I32(int64(first)))
		id := column(k.Add(s.start, row))
		none := k.ICmp(enum.IPredEQ, id, lower.I32(lower.NoColumn))
		at := to
		at.base = k.Add(to.base, k.MulBy(row, panelBytes))
		k.copyBoxes(at, m, rows.Box(k.Select(none, lower.I32(lower.FarBelow), id))) // no row is there: zeros land, and count
	}
}
