package sm80

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// copyLane is the part of a tile that one thread copies. Eight threads copy one 128-byte row of a panel, the same threads
// all panels of that row: a warp then writes four whole rows and meets no bank twice.
type copyLane struct {
	row    Value // first row of this thread
	chunk  Value // its 16-byte chunk of a panel row
	shared Value // shared address of (row, chunk) in panel 0 of a tile at offset 0
	tail   Value // bytes to copy of the last panel's chunk: 16, or 0 beyond the head dim; nil if the panel is whole
}

// newCopyLane computes the thread's part from scratch: cheaper, at the end of the kernel, than keeping it in registers. before are the rows
// of the tile that are not copied, nil for none.
func (k *kernel) newCopyLane(before Value) copyLane {
	tid := k.ThreadX()
	p := copyLane{row: k.after(before, k.LShr(tid, 3)), chunk: k.And(tid, lower.I32(chunks-1))}
	p.shared = k.swizzled(p.row, p.chunk)
	if k.lastPanelChunks < chunks {
		in := k.ICmp(enum.IPredULT, p.chunk, lower.I32(int64(k.lastPanelChunks)))
		p.tail = k.Select(in, lower.I32(chunkBytes), lower.I32(0))
	}
	return p
}

// chunkOffset is the offset of the thread's chunk within a panel row, as an i64.
func (k *kernel) chunkOffset(p copyLane) Value { return k.ZExt64(k.Shl(p.chunk, 4)) }

// loader copies tiles from global to swizzled shared memory.
type loader struct {
	copyLane
	kn   *kernel
	k, v source
}

// source is one of Q, K and V.
type source struct {
	rows   lower.Rows // from this thread's row of the first pass and its chunk on, for a tile that starts at row 0
	offset int        // of the tile in shared memory
}

func (k *kernel) rowsPerPass() int { return 32 * k.warps / chunks }

func (k *kernel) newLoader() loader {
	l := loader{kn: k, copyLane: k.newCopyLane(nil)}
	kvHead := k.KVHead()
	l.k = l.source("k", kvHead, k.layout.k)
	l.v = l.source("v", kvHead, k.layout.v)
	return l
}

// swizzled is the shared address of a 16-byte chunk of a row in a panel at offset 0.
func (k *kernel) swizzled(row, chunk Value) Value {
	lin := k.Add(k.Mul(row, lower.I32(panelBytes)), k.Shl(chunk, 4))
	return k.Add(k.swizzle(lin), k.shared)
}

// swizzle permutes a byte offset; offsets of panels are multiples of 1024 and pass unchanged.
func (k *kernel) swizzle(lin Value) Value {
	return k.Xor(lin, k.And(k.LShr(lin, 3), lower.I32(swizzle)))
}

func (l loader) source(name string, head Value, offset int) source {
	rows := l.kn.TileRows(name, head).Narrow().Start()
	return source{rows.Shift(l.kn.chunkOffset(l.copyLane)).From(l.row), offset}
}

// q starts the copy of the block's query rows; rows past sq become zeros.
func (l loader) q() {
	k := l.kn
	src := l.source("q", k.TensorHead(), k.layout.q)
	l.tile(src, k.Row0(), k.shape.rows, k.qPanel, k.Length("sq"))
}

// kv starts the copy of a step's slots of K or V.
func (l loader) kv(src source, slots []lower.Slot) {
	k := l.kn
	for i, s := range slots {
		at := src
		at.offset += i * k.SlotKeys * panelBytes
		l.slot(at, s)
	}
}

// slot starts the copy of one slot. Only one that overhangs [0, sk) pays for bounds.
func (l loader) slot(src source, s lower.Slot) {
	k := l.kn
	end := k.Add(s.Start, lower.I32(int64(k.SlotKeys)))
	inside := k.And(k.ICmp(enum.IPredSGE, s.Start, lower.I32(0)), k.ICmp(enum.IPredSLE, end, k.Length("sk")))
	if k.HasCopies() {
		l.columnSlot(src, s, inside)
		return
	}
	k.IfElse(src.rows.Tensor, inside, func() { l.tile(src, s.Start, k.SlotKeys, k.kvPanel, nil) },
		func() { l.tile(src, s.Start, k.SlotKeys, k.kvPanel, k.Length("sk")) })
}

// columnSlot is slot where the slot may come from the compacted copies, or be keys that the caller gives.
func (l loader) columnSlot(src source, s lower.Slot, inside Value) {
	k := l.kn
	columns := k.ICmp(enum.IPredNE, k.And(s.Flags, lower.I32(lower.FlagColumns)), lower.I32(0))
	k.IfElse(src.rows.Tensor+"_columns", columns, func() { l.columns(src, s) }, func() {
		k.IfElse(src.rows.Tensor, inside, func() { l.tile(src, s.Start, k.SlotKeys, k.kvPanel, nil) },
			func() { l.tile(src, s.Start, k.SlotKeys, k.kvPanel, k.Length("sk")) })
	})
}

func (l loader) columns(src source, s lower.Slot) {
	if l.kn.GivenKeys() {
		l.gathered(src, s)
		return
	}
	l.compacted(src, s)
}

// tile copies the rows from start on; with a limit, rows outside [0, limit) become zeros.
func (l loader) tile(src source, start Value, rows, panel int, limit Value) {
	k := l.kn
	for i := range rows / k.rowsPerPass() {
		at := k.Add(start, lower.I32(int64(i*k.rowsPerPass())))
		p := src.rows.At(at)
		var bytes Value
		if limit != nil {
			in := k.ICmp(enum.IPredULT, k.Add(at, l.row), limit)
			bytes = k.Select(in, lower.I32(chunkBytes), lower.I32(0))
		}
		l.panels(p, src.offset+i*k.rowsPerPass()*panelBytes, panel, bytes)
	}
}

// panels copies this thread's chunk of every panel of one row; bytes is 16, 0, or nil for an unconditional 16.
func (l loader) panels(p Value, offset, panel int, bytes Value) {
	k := l.kn
	for n := range k.layout.panels {
		from, to := k.Offset(p, lower.I64(int64(n*panelBytes))), k.SharedAt(l.shared, offset+n*panel)
		size := bytes
		if n == k.layout.panels-1 && l.tail != nil {
			size = l.tail
			if bytes != nil {
				size = k.And(bytes, l.tail)
			}
		}
		if size == nil {
			k.Copy16(to, from)
		} else {
			k.Copy16If(to, from, size)
		}
	}
}

// laneAddresses are the rows that this lane points ldmatrix at. Within a panel the k-steps of 16 columns differ by an
// XOR, so each operand needs one address for each of a panel's four steps; everything else is an immediate.
type laneAddresses struct{ q, k, v []Value }

const stepsPerPanel = panelCols / 16

func (k *kernel) newLaneAddresses() laneAddresses {
	low4 := k.And(k.Lane, lower.I32(15))
	half := k.LShr(k.Lane, 4)
	// A operand (Q): 16 rows, two chunks. B operand (K): rows 0-7 and 8-15 of the keys by lane bit 4, chunk by bit 3.
	// V is read transposed and needs the same pattern as Q.
	qRow := k.after(k.before, k.Add(k.Shl(k.warp, 4), low4))
	kRow := k.Add(k.And(k.Lane, lower.I32(7)), k.Shl(half, 3))
	kChunk := k.And(k.LShr(k.Lane, 3), lower.I32(1))
	return laneAddresses{
		q: k.steps(k.swizzled(qRow, half)),
		k: k.steps(k.swizzled(kRow, kChunk)),
		v: k.steps(k.swizzled(low4, half)),
	}
}

// steps are the addresses of the four k-steps of a panel. Dynamic shared memory starts on 1024 bytes, so the XOR of the
// chunk index works on the whole address.
func (k *kernel) steps(a Value) []Value {
	var out []Value
	for i := range stepsPerPanel {
		out = append(out, k.stepAddress(a, i))
	}
	return out
}

func (k *kernel) stepAddress(a Value, i int) Value {
	if i == 0 {
		return a
	}
	return k.Xor(a, lower.I32(int64(i*2*chunkBytes)))
}

// qAt is the Q fragment of k-step step, strip m.
func (a laneAddresses) qAt(k *kernel, step, m int) Value {
	p := step / stepsPerPanel
	return k.SharedAt(a.q[step%stepsPerPanel], k.layout.q+p*k.qPanel+m*k.stripRows()*panelBytes)
}

// kAt is the K fragment of k-step step, keys 16n..16n+15.
func (a laneAddresses) kAt(k *kernel, step, n int) Value {
	p := step / stepsPerPanel
	at := a.k[step%stepsPerPanel]
	if k.HasLists() { // what lists keep alive leaves no registers for four addresses
		at = k.stepAddress(a.k[0], step%stepsPerPanel)
	}
	return k.SharedAt(at, k.layout.k+p*k.kvPanel+n*16*panelBytes)
}

// vAt is the V fragment of keys 16n..16n+15, columns 16d..16d+15.
func (a laneAddresses) vAt(k *kernel, n, d int) Value {
	p := d / stepsPerPanel
	return k.SharedAt(a.v[d%stepsPerPanel], k.layout.v+p*k.kvPanel+n*16*panelBytes)
}
