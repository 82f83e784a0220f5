package emu

import (
	"encoding/binary"
	"errors"
)

// tensorOp is a wgmma.mma_async in flight. The four warps of a group share it.
type tensorOp struct {
	in      *inst
	left    int                // warps that have not waited for it
	pieces  []int32            // offsets in shared memory of the 16-byte pieces of A, 32 for each warp, and of B
	bOf     int                // where the pieces of B begin: 0 or 128
	pages   []int32            // where the pieces are
	changes uint64             // sharedMemory.changes at the issue
	seen    [groupWarps]vclock // the warps' clocks at the issue
}

// aPieces is the number of pieces of A in shared memory for one warp: 16 rows of 16 elements.
const aPieces = 32

func (b *block) newTensorOp(in *inst) *tensorOp {
	op := &tensorOp{}
	if n := len(b.freeOps); n > 0 {
		op, b.freeOps = b.freeOps[n-1], b.freeOps[:n-1]
	}
	op.in, op.left, op.bOf = in, groupWarps, 0
	op.pieces, op.pages = op.pieces[:0], op.pages[:0]
	return op
}

// swizzle is a mode of the descriptor: the width of a row of the pattern in bytes, and the bits of the row number that are
// XORed onto the number of the 16-byte piece.
type swizzle struct {
	name  string
	width int
	mask  uint32
}

// swizzles by bits 62 and 63 of the descriptor.
var swizzles = [4]swizzle{{"none", 16, 0}, {"128B", 128, 7}, {"64B", 64, 3}, {"32B", 32, 1}}

// matrixDesc is a decoded matrix descriptor: where an operand lies in shared memory.
type matrixDesc struct {
	name     string // A or B
	start    uint32 // address
	lbo, sbo uint32 // leading and stride byte offset
	swizzle
}

// descUnused are the bits of a descriptor that must be zero.
const descUnused = 3<<14 | 3<<30 | 7<<46 | 0x3ff<<52

// descriptor reads a matrix descriptor, which all lanes of the warpgroup must agree on.
func descriptor(name string, slot int32, warps []*warp) (matrixDesc, error) {
	v := warps[0].r64[slot][0]
	for _, w := range warps {
		if err := w.ready64(slot, fullMask); err != nil {
			return matrixDesc{}, w.fault(&w.block.run.k.code[w.frags[0].pc], err)
		}
		for lane, x := range &w.r64[slot] {
			if x != v {
				return matrixDesc{}, laneError(0, "the descriptor of %s is %#x in lane %d of warp %d and %#x in lane 0 of warp %d: it must be the same in the warpgroup", name, x, lane, w.id, v, warps[0].id)
			}
		}
	}
	d := matrixDesc{name: name, start: uint32(v) & 0x3fff << 4, lbo: uint32(v>>16) & 0x3fff << 4, sbo: uint32(v>>32) & 0x3fff << 4,
		swizzle: swizzles[v>>62]}
	switch {
	case v>>49&7 != 0:
		return d, laneError(0, "the descriptor %#x of %s has base offset %d, the emulator wants 0: align the operand to its swizzle pattern", v, name, v>>49&7)
	case v&descUnused != 0:
		return d, laneError(0, "the descriptor %#x of %s has bits set that mean nothing: addresses and offsets have 14 bits, without the lowest 4", v, name)
	}
	return d, nil
}

// checkStart wants the operand to start in row 0 of the swizzle pattern and to leave no row of it.
func (d *matrixDesc) checkStart(rowBytes int) error {
	if d.mask == 0 {
		return nil
	}
	if atom := uint32(8 * d.width); d.start>>7&d.mask != 0 {
		return laneError(0, "the descriptor of %s starts at offset %d of shared memory, in row %d of the %s swizzle pattern: the pattern must begin at a multiple of %d, found %d",
			d.name, int(d.start)-sharedBase, d.start%atom/uint32(d.width), d.swizzle.name, atom, d.start/uint32(d.width)*uint32(d.width))
	}
	if at := int(d.start) % d.width; at+rowBytes > d.width {
		return laneError(0, "the descriptor of %s starts %d bytes into a row of the %s swizzle pattern, where its %d bytes leave the row of %d", d.name, at, d.swizzle.name, rowBytes, d.width)
	}
	return nil
}

// pieces appends the offsets of an operand's 16-byte pieces. K-major has two for each of the lines (rows of A or columns
// of B): k 0 to 7 and 8 to 15. MN-major has one for each 8 lines and k, with k running first.
func (d *matrixDesc) pieces(to []int32, lines int, mnMajor bool) []int32 {
	n := 2 * lines
	for i := range n {
		var at uint32
		if mnMajor {
			at = d.mnMajor(uint32(i/16*8), uint32(i%16))
		} else {
			at = d.kMajor(uint32(i/2), uint32(i%2))
		}
		at += d.start
		to = append(to, int32(at^at>>7&d.mask<<4)-sharedBase)
	}
	return to
}

// kMajor is where half a row of 16 elements lies, before the swizzle.
func (d *matrixDesc) kMajor(line, half uint32) uint32 {
	at := line%8*uint32(d.width) + line/8*d.sbo
	if d.mask == 0 {
		return at + half*d.lbo
	}
	return at + 16*half
}

// mnMajor is where 8 lines lie for one k. Without a swizzle the two offsets change places.
func (d *matrixDesc) mnMajor(line, k uint32) uint32 {
	at := k % 8 * uint32(d.width)
	if d.mask == 0 {
		return at + line/8*d.sbo + k/8*d.lbo
	}
	w := uint32(d.width / 2)
	return at + line%w*2 + line/w*d.lbo + k/8*d.sbo
}

// operand finds the pieces of one operand and checks the shape.
func (op *tensorOp) operand(name string, slot int32, warps []*warp, lines int, mnMajor bool) error {
	d, err := descriptor(name, slot, warps)
	if err != nil {
		return err
	}
	rowBytes := 32
	if mnMajor {
		rowBytes = min(2*lines, d.width)
	}
	if err := d.checkStart(rowBytes); err != nil {
		return err
	}
	op.pieces = d.pieces(op.pieces, lines, mnMajor)
	size := len(warps[0].block.shared.data)
	for _, at := range op.pieces[op.bOf:] {
		if at < 0 || int(at)+16 > size {
			return laneError(0, "the descriptor of %s reaches offset %d of shared memory, outside the block's %d bytes", name, at, size)
		}
	}
	return nil
}

// tensorOperands reads what the operation has in shared memory, for every warp that reads it.
func (b *block) tensorOperands(op *tensorOp, warps []*warp) error {
	g := op.in.wgmma
	if g.aRegs == nil {
		if err := op.operand("A", g.aDesc, warps, 64, g.transA); err != nil {
			return err
		}
		op.bOf = len(op.pieces)
	}
	if err := op.operand("B", g.bDesc, warps, g.n, g.transB); err != nil {
		return err
	}
	if err := op.checkIssue(warps); err != nil {
		return err
	}
	op.changes = b.shared.changes
	for _, at := range op.pieces {
		if page := at >> pageShift; len(op.pages) == 0 || op.pages[len(op.pages)-1] != page {
			op.pages = append(op.pages, page)
		}
	}
	b.decodeB(op)
	return nil
}

// readBy are the ranges of pieces that warp i of the group reads: its rows of A, and B.
func (op *tensorOp) readBy(i int) [2][2]int {
	b := [2]int{op.bOf, len(op.pieces)}
	if op.bOf == 0 {
		return [2][2]int{{}, b}
	}
	return [2][2]int{{aPieces * i, aPieces * (i + 1)}, b}
}

// check checks that warp i of the group may read a range of pieces.
func (op *tensorOp) check(w *warp, fences *fenceView, r [2]int) error {
	s := &w.block.shared
	for _, at := range op.pieces[r[0]:r[1]] {
		if err := s.asyncCheck(w, fences, int(at), 16); err != nil {
			return err
		}
	}
	return nil
}

// checkIssue checks the reads of all warps. What they all read, B, is checked once with what they all have seen; a fault
// is then looked for in each warp, so that the error names the right one.
func (op *tensorOp) checkIssue(warps []*warp) error {
	all := warps[0].clock
	for i, w := range warps {
		op.seen[i] = w.clock
		all.meet(&w.clock)
	}
	b := [2]int{op.bOf, len(op.pieces)}
	good := op.check(warps[0], &fenceView{warps: warps[0].block.warps, seen: &all}, b) == nil
	for i, w := range warps {
		for j, r := range op.readBy(i) {
			if j == 1 && good {
				continue
			}
			if err := op.check(w, &fenceView{warps: w.block.warps, seen: &w.clock}, r); err != nil {
				return w.fault(op.in, err)
			}
		}
		op.mark(w, i)
	}
	if !good {
		return errors.New("internal: no warp is at fault for an operand of wgmma")
	}
	return nil
}

// mark notes that warp i reads its pieces now.
func (op *tensorOp) mark(w *warp, i int) {
	for _, r := range op.readBy(i) {
		for _, at := range op.pieces[r[0]:r[1]] {
			w.block.shared.asyncMark(w, int(at), 16)
		}
	}
}

// recheck is the late end of the reads: at the wait the operands must still be what they were at the issue, and as
// visible as they were then; what the warp has waited for since is not for them.
func (op *tensorOp) recheck(w *warp) error {
	s, i := &w.block.shared, w.id%groupWarps
	if w.clock[w.id&31] != op.seen[i][w.id&31] {
		op.mark(w, i)
	}
	if s.unchanged(op.pages, op.changes) {
		return nil
	}
	for _, r := range op.readBy(i) {
		if err := op.check(w, &fenceView{warps: w.block.warps, seen: &op.seen[i]}, r); err != nil {
			return laneError(0, "ends the wgmma at PTX line %d, whose operand is gone: %v", op.in.line, err)
		}
	}
	return nil
}

// unchanged says whether no write to the pages was claimed since a count of claims.
func (s *sharedMemory) unchanged(pages []int32, since uint64) bool {
	for _, p := range pages {
		if s.changed[p] > since {
			return false
		}
	}
	return true
}

// matrix16 is 16 rows of 16 elements.
type matrix16 [16][16]float64

// decodeB makes numbers of B, a row for each column.
func (b *block) decodeB(op *tensorOp) {
	g := op.in.wgmma
	b.columns = b.columns[:0]
	for i := 0; i < g.n; i += 8 {
		var rows [8][16]float64
		b.shared.unpack(&rows, op.pieces[op.bOf+2*i:], g.transB, g.half)
		b.columns = append(b.columns, rows[:]...)
	}
}

// decodeA makes numbers of the 16 rows that warp i has, out of registers or shared memory.
func (w *warp) decodeA(op *tensorOp, i int) *matrix16 {
	g, a := op.in.wgmma, &w.block.tiles.a
	if g.aRegs == nil {
		rows, pieces := w.block.shared.unpack, op.pieces[aPieces*i:]
		rows((*[8][16]float64)(a[:8]), pieces, g.transA, g.half)
		rows((*[8][16]float64)(a[8:]), pieces[aPieces/2:], g.transA, g.half)
	} else {
		w.unpackRegisters(a, g)
	}
	if g.negate {
		for r := range a {
			for k := range a[r] {
				a[r][k] = -a[r][k]
			}
		}
	}
	return a
}

// unpackRegisters reads the fragment that mma.m16n8k16 has too.
func (w *warp) unpackRegisters(a *matrix16, g *wgmma) {
	for j, slot := range g.aRegs {
		for l, x := range &w.r32[slot] {
			row := &a[l>>2+8*(j&1)]
			k := (l&3*2 + 8*(j>>1)) & 15
			row[k], row[(k+1)&15] = number16(uint16(x), g.half), number16(uint16(x>>16), g.half)
		}
	}
}

func number16(x uint16, half bool) float64 {
	if half {
		return float64(numbersF16[x])
	}
	return float64(f32(uint32(x) << 16))
}

// unpack makes numbers of the 16 pieces of 8 lines.
func (s *sharedMemory) unpack(lines *[8][16]float64, pieces []int32, mnMajor, half bool) {
	for i, at := range pieces[:16] {
		p := s.data[at : at+16]
		for j := range 8 {
			x := number16(binary.LittleEndian.Uint16(p[2*j:]), half)
			if mnMajor {
				lines[j][i] = x
			} else {
				lines[i>>1][(i&1)*8+j] = x
			}
		}
	}
}

// multiplyWgmma does warp i's 16 rows. Register 4j+2h+c of lane l is row l/4+8h, column 8j+2(l%4)+c, as mma.sync has it for
// each 8 columns.
func (w *warp) multiplyWgmma(op *tensorOp, i int, keep bool) {
	g, a, columns := op.in.wgmma, w.decodeA(op, i), w.block.columns
	for j := 0; j < g.n; j += 8 {
		d := (*[4]int32)(g.sums[j/2:])
		c := d
		if !keep {
			c = &[4]int32{} // slot 0 is zero
		}
		w.multiply(d, c, a, (*[8][16]float64)(columns[j:]))
	}
}
