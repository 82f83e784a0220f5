package index

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/codegen/lower"
)

// probePlace is the part of a tile that one thread copies: eight threads copy one 128-byte row of a panel.
type probePlace struct {
	row, chunk Value
	shared     Value // address of (row, chunk) in a panel at offset 0
	tail       Value // bytes of the last panel's chunk, 16 or 0; nil if the panel is whole
}

func (e *estimator) newPlace() probePlace {
	tid := e.ThreadX()
	p := probePlace{row: e.LShr(tid, 3), chunk: e.And(tid, lower.I32(7))}
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

// rowsPerPass is how many rows all threads copy at a time; it divides 64.
func (e *estimator) rowsPerPass() int { return 64 * e.Heads / 8 }

// loadQ starts the copy of the probe rows of all heads; rows past the last become zeros.
func (e *estimator) loadQ() {
	row0 := e.row0
	if !e.Spread {
		row0 = e.Sub(e.Param("sq"), e.rows)
	}
	for i := range e.Heads * ProbeRows / e.rowsPerPass() {
		slot, from := i*e.rowsPerPass()/ProbeRows, i*e.rowsPerPass()%ProbeRows
		row := e.Add(e.place.row, lower.I32(int64(from)))
		base := e.tensor("q", e.headOf(lower.I32(int64(slot))))
		in := e.ICmp(enum.IPredULT, row, e.rows)
		to := e.Add(e.place.shared, lower.I32(int64(slot*e.panels*panel+from*panelBytes)))
		e.copyRow("q", base, e.Add(row0, e.apart(row)), in, to)
	}
}

// loadK starts the copy of a tile of keys into one of the two buffers; keys past sk become zeros.
func (e *estimator) loadK(tile, buffer Value) {
	base, p := e.tensor("k", e.kvHead), e.place
	first := e.Add(e.firstKey(tile), e.apart(p.row))
	to := e.Add(p.shared, e.Mul(buffer, lower.I32(int64(e.panels*panel))))
	for i := range tileKeys / e.rowsPerPass() {
		key := e.Add(first, e.apart(lower.I32(int64(i*e.rowsPerPass()))))
		in := e.ICmp(enum.IPredULT, key, e.Param("sk"))
		e.copyRow("k", base, key, in, e.Add(to, lower.I32(int64(e.k+i*e.rowsPerPass()*panelBytes))))
	}
}

// tensor is the start of a tensor for the block's batch and a head, at the thread's chunk.
func (e *estimator) tensor(name string, head Value) Value {
	p := e.Offset(e.Param(name), e.Mul(e.ZExt64(e.BlockZ()), e.Param(name+"_batch")))
	return e.Offset(p, e.Mul(e.ZExt64(head), e.Param(name+"_head")))
}

func (e *estimator) copyRow(name string, base, row, in, to Value) {
	p := e.Offset(base, e.Mul(e.SExt64(row), e.Param(name+"_row")))
	p = e.Offset(p, e.ZExt64(e.Shl(e.place.chunk, 4)))
	whole := e.Select(in, lower.I32(chunkBytes), lower.I32(0))
	for n := range e.panels {
		bytes := whole
		if n == e.panels-1 && e.place.tail != nil {
			bytes = e.And(bytes, e.place.tail)
		}
		e.Copy16If(e.SharedAt(to, n*panel), e.Offset(p, lower.I64(int64(n*panelBytes))), bytes)
	}
}

// newLanes are the addresses at which ldmatrix reads: Q as A operand (16 rows, two chunks of 8 columns), K as B operand
// (16 keys, two chunks). Within a panel the four k-steps of 16 columns differ by an XOR.
func (e *estimator) newLanes() {
	low4, high := e.And(e.lane, lower.I32(15)), e.LShr(e.lane, 4)
	q := e.Add(e.swizzled(low4, high), e.Mul(e.slot, lower.I32(int64(e.panels*panel))))
	key := e.Add(e.And(e.lane, lower.I32(7)), e.Shl(high, 3))
	k := e.swizzled(key, e.And(e.LShr(e.lane, 3), lower.I32(1)))
	k = e.Add(k, e.Mul(e.half, lower.I32(halfKeys*panelBytes)))
	for i := range 4 {
		e.qLanes = append(e.qLanes, e.Xor(q, lower.I32(int64(32*i))))
		e.kLanes = append(e.kLanes, e.Xor(k, lower.I32(int64(32*i))))
	}
}

// scores are a thread's products of q and k for one half tile: by row of its eight, then by column of its eight. Column
// 2n+c is key 8n + 2*quad + c of the half.
type scores [threadRows][]Value

const threadCols = halfKeys / 4

// flat lists them row by row, and back.
func (s scores) flat() []Value {
	var out []Value
	for _, row := range s {
		out = append(out, row...)
	}
	return out
}

func unflat(v []Value) (s scores) {
	for i := range s {
		s[i] = v[i*threadCols : (i+1)*threadCols]
	}
	return s
}

// scores computes S = Q K^T of the warp.
func (e *estimator) scores(buffer Value) scores {
	var acc [strips][halfKeys / 8][]Value
	for m := range acc {
		for n := range acc[m] {
			acc[m][n] = []Value{lower.F32(0), lower.F32(0), lower.F32(0), lower.F32(0)}
		}
	}
	offset := e.Mul(buffer, lower.I32(int64(e.panels*panel)))
	for step := range e.HeadDim / 16 {
		at := step / 4 * panel
		var b [][]Value
		for n := range halfKeys / 16 {
			b = append(b, e.LdMatrix4(e.SharedAt(e.Add(e.kLanes[step%4], offset), e.k+at+n*16*panelBytes), false))
		}
		for m := range strips {
			a := e.LdMatrix4(e.SharedAt(e.qLanes[step%4], at+m*16*panelBytes), false)
			for n := range acc[m] {
				acc[m][n] = e.MMA(e.DType, a, b[n/2][2*(n%2):2*(n%2)+2], acc[m][n])
			}
		}
	}
	var s scores
	for m := range acc {
		for _, x := range acc[m] {
			s[2*m], s[2*m+1] = append(s[2*m], x[:2]...), append(s[2*m+1], x[2:]...)
		}
	}
	return s
}

// maskEdge sets the scores of keys after the query, at or after sk, and of missing rows to -inf. Few tiles have any.
func (e *estimator) maskEdge(s scores, tile Value) scores {
	if e.Spread {
		return e.maskSpread(s, tile)
	}
	k0 := e.Shl(tile, 6)
	after := e.ICmp(enum.IPredSGT, e.Add(k0, lower.I32(tileKeys-1)), e.q0)
	over := e.ICmp(enum.IPredSGT, e.Add(k0, lower.I32(tileKeys)), e.Param("sk"))
	short := e.ICmp(enum.IPredSLT, e.rows, lower.I32(ProbeRows))
	key := e.Add(k0, e.Add(e.Mul(e.half, lower.I32(halfKeys)), e.Shl(e.quad, 1)))
	return unflat(e.If("edge", e.Or(e.Or(after, over), short), s.flat(), func() []Value {
		var out []Value
		for i, row := range s {
			room := e.Sub(e.rowEnd(i), key)
			for j, x := range row {
				keep := e.ICmp(enum.IPredSGT, room, lower.I32(int64(8*(j/2)+j%2)))
				out = append(out, e.Select(keep, x, lower.NegInf()))
			}
		}
		return out
	}))
}

// rowEnd is the key after the last that row i of the thread sees.
func (e *estimator) rowEnd(i int) Value {
	row := e.probeRow(i)
	end := e.Min(e.Param("sk"), e.Add(e.Add(e.q0, e.apart(row)), lower.I32(1)))
	return e.Select(e.ICmp(enum.IPredSLT, row, e.rows), end, lower.I32(0))
}
