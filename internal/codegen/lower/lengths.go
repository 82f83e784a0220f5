package lower

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
)

// Lengths in device memory (abi/lengths.go). Kernels ask Length for sq, sk and q_offset where they ask which rows and keys there are, and
// Param where they ask how buffers lie. Without lengths in memory the two are one.

// ReadsLengths says whether the kernel takes lengths from device memory.
func (b *Builder) ReadsLengths() bool { return b.params[abi.LengthsParam.Name] != nil }

// Length is sq, sk or q_offset of the batch entry that the code works on, which Entry says.
func (b *Builder) Length(name string) Value {
	if !b.ReadsLengths() {
		return b.Param(name)
	}
	return b.lengthWord(b.Entry(), I32(int64(abi.LengthWords[name])))
}

// Length is sq, sk or q_offset of the tile's batch entry.
func (k *RowTile) Length(name string) Value {
	if !k.ReadsLengths() {
		return k.Param(name)
	}
	if v := k.At.lengths[name]; v != nil {
		return v
	}
	return k.lengthWord(k.At.Batch(), I32(int64(abi.LengthWords[name])))
}

// HoldLengths reads lengths of the tile's batch entry once, for kernels to which registers are dearer for an address than for a number.
func (k *RowTile) HoldLengths(names ...string) {
	if !k.ReadsLengths() {
		return
	}
	held := map[string]Value{}
	for _, name := range names {
		held[name] = k.Length(name)
	}
	k.At.lengths = held
}

// LengthOf is the length of queries where which is 0, and of keys where it is 1, for kernels that read lengths; firstOf is the row of the
// tensors at which these begin.
func (b *Builder) LengthOf(which Value) Value { return b.lengthWord(b.Entry(), which) }

func (b *Builder) firstOf(which Value) Value {
	return b.lengthWord(b.Entry(), b.Add(which, I32(int64(abi.LengthWords["first_q"]))))
}

// lengthWord is a word of an entry's record.
func (b *Builder) lengthWord(entry, word Value) Value {
	at := b.Add(b.Shl(b.ZExt64(entry), 5), b.Shl(b.ZExt64(word), 2))
	return b.Load(types.I32, b.Offset(b.Param(abi.LengthsParam.Name), at), 4)
}

// firstRow is the row of a tensor at which the rows of the batch entry begin; nil where that is row 0 for all.
func (r Rows) firstRow() Value {
	if !r.b.ReadsLengths() {
		return nil
	}
	if r.which != nil {
		return r.b.firstOf(r.which)
	}
	word, of := abi.LengthWords[abi.FirstRow[r.Tensor]]
	if !of {
		return nil
	}
	return r.b.lengthWord(r.b.narrow(r.batch()), I32(int64(word)))
}

// boxRow is the row of the tensor at which a box of a map begins. FarBelow stays below all rows.
func (r Rows) boxRow(row Value) Value {
	first := r.firstRow()
	if first == nil {
		return row
	}
	far := r.b.ICmp(enum.IPredSLE, row, I32(FarBelow))
	return r.b.Add(row, r.b.Select(far, I32(0), first))
}

// narrow is a number of 32 bits.
func (b *Builder) narrow(v Value) Value {
	if v.Type().Equal(types.I64) {
		return b.Trunc32(v)
	}
	return v
}

// startOf is where the maximum of the thread's row i starts. Rows beyond the sequence start above all scores: they hold another sequence's
// queries, or anything, and would else have a say in when the warp's outputs are scaled anew, which rounds them, or in which tiles are left out.
func (k *RowTile) startOf(i int) Value {
	if !k.ReadsLengths() && !k.Skips() {
		return F32(Lowest)
	}
	inside := k.ICmp(enum.IPredSLT, k.Add(k.Row0(), k.RowOf(i)), k.Length("sq"))
	return k.Select(inside, F32(Lowest), F32(-Lowest))
}

// WhenPresent is other, unless the tile has no rows: where lengths are in device memory, grids are made for the longest entry.
func (k *RowTile) WhenPresent(other Value) Value {
	if !k.ReadsLengths() {
		return other
	}
	return k.And(other, k.present())
}

func (k *RowTile) present() Value { return k.ICmp(enum.IPredSLT, k.Row0(), k.Length("sq")) }

// LeaveAbsent ends a block whose tile has no rows.
func (k *RowTile) LeaveAbsent() {
	if k.ReadsLengths() {
		k.LeaveUnless(k.present(), nil)
	}
}
