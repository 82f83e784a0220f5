package lower

import "github.com/llir/llvm/ir/types"

// Rows says where the rows of one head of a tensor lie: the rows of q, k, v, o and the LSE, for which kernels have the parameters NAME,
// NAME_batch, NAME_head and NAME_row. It is the one place that knows; kernels ask it for the address of a row, or for the box of a tensor
// map that begins there. Copies of chosen columns are no tensor of the call: they are a list's, and lie as the index stage puts them.
//
// Now a head's rows are one stride apart. Keys and values in pages would be a second implementation of At, From and Box, with a table of
// the pages of each sequence as one more parameter: At and From look up the page of the row, and Box gives the page's number in place of
// head and batch, and the row within it. A slot of 64 keys begins at any key, so it may lie in two pages: the copies of a slot, which
// today add a multiple of the stride to an address of From, or take one box, would be split where the page ends. That must cost nothing
// where rows are contiguous: it is decided when the kernel is made, and the code for contiguous rows stays as it is.
type Rows struct {
	Tensor string

	b           *Builder
	head, batch func() Value // asked for where they are used
	origin      Value        // where row 0 lies, moved by Shift and From
	numbers     rowNumbers
	which       Value // of a tensor that is q (0) or k (1): nil for one whose name says so
}

// rowNumbers says how a row's number becomes a distance.
type rowNumbers int

const (
	countedRows rowNumbers = iota // rows 0 and up
	signedRows                    // rows before row 0 as well, of which nothing is read
	narrowRows                    // signed, in one 32-bit multiplication with a 64-bit sum
	words                         // 4 bytes a row, without a parameter
)

// RowsOf are the rows of a head of a tensor; head and batch are i32 or i64.
func (b *Builder) RowsOf(tensor string, head, batch func() Value) Rows {
	return Rows{Tensor: tensor, b: b, head: head, batch: batch}
}

// Is gives a value that is in a register.
func Is(v Value) func() Value { return func() Value { return v } }

// TileRows are the rows of a head of a tensor in the tile's batch.
func (k *RowTile) TileRows(tensor string, head Value) Rows {
	return k.RowsOf(tensor, Is(head), k.At.Batch)
}

// Signed are the same rows where numbers may be below 0.
func (r Rows) Signed() Rows {
	r.numbers = signedRows
	return r
}

// Narrow is Signed for kernels short of registers. The runtime keeps row strides below 2^31 bytes, so that no stride has to stay in a pair
// of registers.
func (r Rows) Narrow() Rows {
	r.numbers = narrowRows
	return r
}

// Which says which tensor it is, 0 for q and 1 for k, where the name does not.
func (r Rows) Which(which Value) Rows {
	r.which = which
	return r
}

// Words are the same rows, of one 4-byte number each.
func (r Rows) Words() Rows {
	r.numbers = words
	return r
}

// Start finds the address of row 0, from which At and From go on.
func (r Rows) Start() Rows {
	wide := func(v Value) Value {
		if v.Type().Equal(types.I64) {
			return v
		}
		return r.b.ZExt64(v)
	}
	p := r.b.Offset(r.b.Param(r.Tensor), r.b.Mul(wide(r.batch()), r.b.Param(r.Tensor+"_batch")))
	r.origin = r.b.Offset(p, r.b.Mul(wide(r.head()), r.b.Param(r.Tensor+"_head")))
	if first := r.firstRow(); first != nil {
		r.origin = r.At(first)
	}
	return r
}

// Shift moves to a byte (i64) within each row.
func (r Rows) Shift(bytes Value) Rows {
	r.origin = r.b.Offset(r.origin, bytes)
	return r
}

// From are the rows from one on: it becomes row 0.
func (r Rows) From(row Value) Rows {
	r.origin = r.At(row)
	return r
}

// At is the address of a row.
func (r Rows) At(row Value) Value { return r.b.Offset(r.origin, r.distance(row)) }

func (r Rows) distance(row Value) Value {
	b, stride := r.b, r.Tensor+"_row"
	switch r.numbers {
	case words:
		return b.Shl(b.ZExt64(row), 2)
	case narrowRows:
		narrow := b.Trunc32(b.Param(stride))
		return b.Mul(b.SExt64(row), b.SExt64(narrow))
	case signedRows:
		return b.Mul(b.SExt64(row), b.Param(stride))
	}
	return b.Mul(b.ZExt64(row), b.Param(stride))
}

// Box is where a box of a tensor map begins, but for its first column.
type Box struct{ Row, Head, Batch Value }

// Box is the box that begins at a row.
func (r Rows) Box(row Value) Box {
	return Box{r.boxRow(row), r.head(), r.batch()}
}
