package sm80

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// epilogue normalises the output and stores it and the LSE, and notes the tile if it must be computed again. O goes through the warp's
// own rows of the Q tile, which no other warp reads, so that global stores are whole 128-byte rows.
func (k *kernel) epilogue(st rowState) {
	k.SumQuads(st.l)
	k.stageOutput(st)
	k.StoreLSE(len(st.l), func(i int) Value {
		if k.exact {
			return k.ExactLSE(st.m[i], st.l[i])
		}
		return k.LSE(st.m[i], st.l[i])
	})
	k.Barrier()
	k.storeOutput(k.newCopyLane(k.before))
}

// stageOutput writes O / l in the input type to shared memory, and notes doubts.
func (k *kernel) stageOutput(st rowState) {
	quad := k.Shl(k.And(k.Lane, lower.I32(3)), 2)
	at := k.Add(k.swizzled(k.rowOf(0, 0), lower.I32(0)), quad)
	columns := make([]Value, chunks)
	for c := range columns {
		columns[c] = k.Xor(at, lower.I32(int64(c*chunkBytes)))
	}
	doubt := Value(lower.Bool(false))
	for i := range st.l {
		strip, r := i/2, i%2
		pairs, doubts := k.outputs(st, i)
		doubt = k.Or(doubt, doubts)
		for j, pair := range pairs {
			offset := k.layout.q + j/chunks*k.qPanel + (strip*k.stripRows()+8*r)*panelBytes
			k.Store(pair, k.SharedAt(columns[j%chunks], offset), 4)
		}
	}
	if !k.exact {
		k.note(doubt)
	}
}

// outputs are the outputs of the thread's row i in pairs, and whether they are doubtful.
func (k *kernel) outputs(st rowState, i int) (pairs []Value, doubtful Value) {
	o := lower.OfRow(st.o[i/2], i%2)
	if k.exact {
		return k.ExactOutputs(o, st.l[i]), lower.Bool(false)
	}
	pairs, test := k.Outputs(o, st.l[i])
	return pairs, k.Doubtful(i, st.m[i], st.l[i], test)
}

// storeOutput copies the staged rows to global memory, rows past sq left out.
func (k *kernel) storeOutput(p copyLane) {
	row := k.Add(k.Row0(), p.row)
	rows := k.TileRows("o", k.TensorHead()).Narrow().Start().Shift(k.chunkOffset(p))
	for i := range k.strips * k.stripRows() / k.rowsPerPass() {
		at := k.Add(row, lower.I32(int64(i*k.rowsPerPass())))
		k.If("store_row", k.ICmp(enum.IPredSLT, at, k.Length("sq")), func() {
			k.storeRow(p, rows.At(at), k.layout.q+i*k.rowsPerPass()*panelBytes)
		})
	}
}

func (k *kernel) storeRow(p copyLane, to Value, offset int) {
	for n := range k.layout.panels {
		store := func() {
			v := k.Load(lower.Vec4, k.SharedAt(p.shared, offset+n*k.qPanel), chunkBytes)
			k.Store(v, k.Offset(to, lower.I64(int64(n*panelBytes))), chunkBytes)
		}
		if n == k.layout.panels-1 && p.tail != nil {
			k.If("store_tail", k.ICmp(enum.IPredNE, p.tail, lower.I32(0)), store)
		} else {
			store()
		}
	}
}
