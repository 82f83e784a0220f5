package index

import (
	"slices"

	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// copyLane is the part of a tile that one thread copies: eight threads copy one 128-byte row of a panel.
type copyLane struct {
	row, chunk Value
	shared     Value // address of (row, chunk) in a panel at offset 0
	tail       Value // bytes of the last panel's chunk, 16 or 0; nil if the panel is whole
}

func (e *estimator) newCopyLane() copyLane {
	tid := e.ThreadX()
	p := copyLane{row: e.LShr(tid, 3), chunk: e.And(tid, lower.I32(7))}
	p.shared = e.swizzled(p.row, p.chunk)
	if e.lastChunks < panelBytes/chunkBytes {
		in := e.ICmp(enum.IPredULT, p.chunk, lower.I32(int64(e.lastChunks)))
		p.tail = e.Select(in, lower.I32(chunkBytes), lower.I32(0))
	}
	return p
}

// swizzled is the shared address of a 16-byte chunk of a row in a panel at offset 0.
func (e *estimator) swizzled(row, chunk Value) Value {
	lin := e.Add(e.Shl(row, 7), e.Shl(chunk, 4))
	return e.Add(e.Xor(lin, e.And(e.LShr(lin, 3), lower.I32(0x70))), e.shared)
}

// rowsPerPass is how many rows all threads copy at a time; it divides 32.
func (e *estimator) rowsPerPass() int { return 64 * e.HeadsPerBlock / 8 }

// loadQ starts the copy of the probe rows of all heads; rows past the last become zeros.
func (e *estimator) loadQ() {
	row0 := e.row0
	if row0 == nil {
		row0 = e.Sub(e.Length("sq"), e.rows)
	}
	for i := range e.HeadsPerBlock * abi.ProbeRows / e.rowsPerPass() {
		slot, from := i*e.rowsPerPass()/abi.ProbeRows, i*e.rowsPerPass()%abi.ProbeRows
		row := e.Add(e.copies.row, lower.I32(int64(from)))
		head, row := e.rowOfTile(lower.I32(int64(slot)), row)
		rows := e.rowsOf("q", head)
		in := e.ICmp(enum.IPredULT, row, e.rows)
		to := e.Add(e.copies.shared, lower.I32(int64(slot*e.panels*panel+from*panelBytes)))
		e.copyRow(rows, e.Add(row0, e.rowsApart(row)), in, to)
	}
}

// loadK starts the copy of two times 32 keys into one of the two buffers: keys from first(0) on and keys from first(1) on.
// Keys past sk, and before key 0, become zeros.
func (e *estimator) loadK(first func(half int) Value, buffer Value) {
	rows, p := e.rowsOf("k", e.kvHead), e.copies
	to := e.Add(p.shared, e.Mul(buffer, lower.I32(int64(e.panels*panel))))
	for half := range 2 {
		from := e.Add(first(half), e.apart(p.row))
		for i := 0; i < halfKeys; i += e.rowsPerPass() {
			key := e.Add(from, e.apart(lower.I32(int64(i))))
			in := e.ICmp(enum.IPredULT, key, e.Length("sk"))
			e.copyRow(rows, key, in, e.Add(to, lower.I32(int64(e.k+(half*halfKeys+i)*panelBytes))))
		}
	}
}

// rowsOf are the rows of a tensor for the block's batch and a head.
func (e *estimator) rowsOf(tensor string, head Value) lower.Rows {
	return e.RowsOf(tensor, lower.Is(head), e.BlockZ).Signed().Start()
}

// copyRow starts the copy of the thread's chunks of a row.
func (e *estimator) copyRow(rows lower.Rows, row, in, to Value) {
	p := rows.At(row)
	p = e.Offset(p, e.ZExt64(e.Shl(e.copies.chunk, 4)))
	whole := e.Select(in, lower.I32(chunkBytes), lower.I32(0))
	for n := range e.panels {
		bytes := whole
		if n == e.panels-1 && e.copies.tail != nil {
			bytes = e.And(bytes, e.copies.tail)
		}
		e.Copy16If(e.SharedAt(to, n*panel), e.Offset(p, lower.I64(int64(n*panelBytes))), bytes)
	}
}

// newLanes are the addresses at which ldmatrix reads: Q as A operand (16 rows, two chunks of 8 columns), K as B operand
// (16 keys, two chunks). Within a panel the four k-steps of 16 columns differ by an XOR, which is done where they are read:
// one address of each operand lives through the loop, not four.
func (e *estimator) newLanes() {
	low4, high := e.And(e.lane, lower.I32(15)), e.LShr(e.lane, 4)
	e.qLane = e.Add(e.swizzled(low4, high), e.Mul(e.slot, lower.I32(int64(e.panels*panel))))
	key := e.Add(e.And(e.lane, lower.I32(7)), e.Shl(high, 3))
	k := e.swizzled(key, e.And(e.LShr(e.lane, 3), lower.I32(1)))
	e.kLane = e.Add(k, e.Mul(e.half, lower.I32(halfKeys*panelBytes)))
}

// scores are a thread's products of q and k for 32 keys: by row of its eight, then by column of its eight. Column 2n+c is key
// 8n + 2*quad + c of the 32. What nobody wants is nil.
type scores [threadRows][]Value

const (
	threadCols   = halfKeys / 4
	columnGroups = halfKeys / 8
)

// wanted says which scores are wanted, by the thread's row i and its columns 2n and 2n+1. A nil one wants all.
type wanted func(i, n int) bool

func (w wanted) all(i, n int) bool { return w == nil || w(i, n) }

// Values lists the scores that are there, row by row.
func (s *scores) Values() []*Value { return lower.Some(lower.Pointers(s[:]...)...) }

func (s scores) Clone() scores {
	for i := range s {
		s[i] = slices.Clone(s[i])
	}
	return s
}

// each computes f of every score that is there.
func (s scores) each(f func(i, j int, x Value) Value) (out scores) {
	for i, row := range s {
		out[i] = slices.Clone(row)
		for j, x := range row {
			if x != nil {
				out[i][j] = f(i, j, x)
			}
		}
	}
	return out
}

// products accumulates the wanted products of all rows with 32 keys; a strip without any has nil.
type products [strips][columnGroups][]Value

func newProducts(want wanted) (acc products) {
	for m := range acc {
		for n := range acc[m] {
			if want.all(2*m, n) || want.all(2*m+1, n) {
				acc[m][n] = []Value{lower.F32(0), lower.F32(0), lower.F32(0), lower.F32(0)}
			}
		}
	}
	return acc
}

// some says whether a strip has wanted products.
func (acc products) some(m int) bool {
	return slices.ContainsFunc(acc[m][:], func(x []Value) bool { return x != nil })
}

// scores computes S = Q K^T of the warp.
func (e *estimator) scores(buffer Value, want wanted) scores {
	acc := newProducts(want)
	k := e.Add(e.kLane, e.Mul(buffer, lower.I32(int64(e.panels*panel))))
	for step := range e.HeadDim / 16 {
		at, turn := step/4*panel, lower.I32(int64(step%4*32))
		qStep, kStep := e.Xor(e.qLane, turn), e.Xor(k, turn)
		var b [][]Value
		for n := range columnGroups / 2 {
			b = append(b, e.LdMatrix4(e.SharedAt(kStep, e.k+at+n*16*panelBytes), false))
		}
		for m := range strips {
			if !acc.some(m) {
				continue
			}
			a := e.LdMatrix4(e.SharedAt(qStep, at+m*16*panelBytes), false)
			for n := range acc[m] {
				if acc[m][n] != nil {
					acc[m][n] = e.MMA(e.DType, a, b[n/2][2*(n%2):2*(n%2)+2], acc[m][n])
				}
			}
		}
	}
	return acc.scores(want)
}

// scores orders the products by rows and columns.
func (acc products) scores(want wanted) (s scores) {
	for i := range s {
		for n := range columnGroups {
			x := []Value{nil, nil}
			if want.all(i, n) {
				x = acc[i/2][n][2*(i%2) : 2*(i%2)+2]
			}
			s[i] = append(s[i], x...)
		}
	}
	return s
}

// maskEdge sets the scores of keys after the query, at or after sk, and of missing rows to -inf. Few tiles have any. The 32
// keys begin at the first one.
func (e *estimator) maskEdge(s scores, first Value) scores {
	if e.Spread {
		return e.maskSpread(s, first)
	}
	after := e.ICmp(enum.IPredSGT, e.Add(first, lower.I32(halfKeys-1)), e.q0)
	over := e.ICmp(enum.IPredSGT, e.Add(first, lower.I32(halfKeys)), e.Length("sk"))
	short := e.ICmp(enum.IPredSLT, e.rows, lower.I32(int64(8*e.headRows())))
	key := e.Add(first, e.Shl(e.quad, 1))
	return lower.Choose(e.Builder, "edge", e.Or(e.Or(after, over), short), s, func() scores {
		var room [threadRows]Value
		for i := range room {
			room[i] = e.Sub(e.rowEnd(i), key)
		}
		return s.each(func(i, j int, x Value) Value {
			keep := e.ICmp(enum.IPredSGT, room[i], lower.I32(int64(8*(j/2)+j%2)))
			return e.Select(keep, x, lower.NegInf())
		})
	})
}

// rowEnd is the key after the last that row i of the thread sees.
func (e *estimator) rowEnd(i int) Value {
	row := e.probeRow(i)
	end := e.Min(e.Length("sk"), e.Add(e.Add(e.q0, e.rowsApart(row)), lower.I32(1)))
	return e.Select(e.ICmp(enum.IPredSLT, row, e.rows), end, lower.I32(0))
}
