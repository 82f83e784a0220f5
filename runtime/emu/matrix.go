package emu

import (
	"encoding/binary"
	"strings"
)

// decodeLdmatrix handles ldmatrix.sync.aligned.m8n8.x{1,2,4}[.trans].shared.b16.
func decodeLdmatrix(d *decoder) {
	d.matrices()
	if d.count(2, 2) {
		d.in.dv = d.vector(d.st.args[0], d.in.vec, func(o operand) int32 { return d.dest(o, ptxTypes["b32"]) })
		d.address(d.st.args[1])
		d.in.ctl, d.in.exec = ctlWarp, execLdmatrix
	}
}

// decodeStmatrix handles stmatrix.sync.aligned.m8n8.x{1,2,4}[.trans].shared.b16.
func decodeStmatrix(d *decoder) {
	d.matrices()
	if d.count(2, 2) {
		d.in.dv = d.vector(d.st.args[1], d.in.vec, func(o operand) int32 { return d.source(o, ptxTypes["b32"]) })
		d.address(d.st.args[0])
		d.in.ctl, d.in.exec = ctlWarp, execStmatrix
	}
}

// matrices takes the modifiers that ldmatrix and stmatrix share.
func (d *decoder) matrices() {
	d.oneOf("sync")
	d.oneOf("aligned")
	d.oneOf("m8n8")
	d.in.signed = d.take("trans")
	switch d.oneOf("x1", "x2", "x4") {
	case "x1":
		d.in.vec = 1
	case "x2":
		d.in.vec = 2
	default:
		d.in.vec = 4
	}
	if !d.take("shared") && !d.take("shared::cta") {
		d.fail("%s wants .shared", d.base)
	}
	d.oneOf("b16")
	d.in.space = spaceShared
}

// execLdmatrix loads 8x8 matrices of 16-bit elements. Row r of matrix j starts at the address of lane 8j+r; lane l gets
// elements 2(l%4) and 2(l%4)+1 of row l/4, or with .trans of column l/4.
func execLdmatrix(w *warp, in *inst, m uint32) error {
	used := m & uint32(uint64(1)<<(8*in.vec)-1) // the other lanes' addresses do not matter
	addr, err := w.addresses(in, in.a, in.wideA, in.off, used)
	if err != nil {
		return err
	}
	w.usesShared(m)
	s := &w.block.shared
	for j := 0; j < in.vec; j++ {
		var rows [8][8]uint16
		for r := range rows {
			lane := 8*j + r
			off, err := s.offset(addr[lane], 16, lane, "reads")
			if err != nil {
				return err
			}
			if err := s.read(w, lane, off, 16); err != nil {
				return err
			}
			p := s.data[off : off+16]
			for c := range rows[r] {
				rows[r][c] = binary.LittleEndian.Uint16(p[2*c:])
			}
		}
		w.block.conflicts[w.frags[0].pc] += rowConflicts(addr, 8*j)
		spread(&w.r32[in.dv[j]], &rows, in.signed)
		w.init32[in.dv[j]] = fullMask
	}
	return nil
}

func spread(d *lanes, rows *[8][8]uint16, trans bool) {
	for l := range d {
		g, t := l>>2, l&3*2
		if trans {
			d[l] = uint32(rows[t][g]) | uint32(rows[t+1][g])<<16
		} else {
			d[l] = uint32(rows[g][t]) | uint32(rows[g][t+1])<<16
		}
	}
}

// execStmatrix stores 8x8 matrices of 16-bit elements, laid out as execLdmatrix loads them.
func execStmatrix(w *warp, in *inst, m uint32) error {
	used := m & uint32(uint64(1)<<(8*in.vec)-1)
	addr, err := w.addresses(in, in.a, in.wideA, in.off, used)
	if err != nil {
		return err
	}
	w.usesShared(m)
	s := &w.block.shared
	s.store++
	for j := 0; j < in.vec; j++ {
		if err := w.ready32(in.dv[j], m); err != nil {
			return err
		}
		rows := collect(&w.r32[in.dv[j]], in.signed)
		for r := range rows {
			lane := 8*j + r
			off, err := s.offset(addr[lane], 16, lane, "writes")
			if err != nil {
				return err
			}
			if err := s.write(w, lane, off, rows[r][:]); err != nil {
				return err
			}
		}
		w.block.conflicts[w.frags[0].pc] += rowConflicts(addr, 8*j)
	}
	return nil
}

// collect makes the 8 rows of a matrix from the lanes' registers.
func collect(d *lanes, trans bool) (rows [8][16]byte) {
	for l, x := range d {
		g, t := l>>2, l&3*2
		if trans {
			binary.LittleEndian.PutUint16(rows[t][2*g:], uint16(x))
			binary.LittleEndian.PutUint16(rows[t+1][2*g:], uint16(x>>16))
		} else {
			binary.LittleEndian.PutUint32(rows[g][2*t:], x)
		}
	}
	return rows
}

// rowConflicts counts the extra passes of one matrix: 8 rows of 16 bytes are one pass when they lie in 8 different
// groups of four banks.
func rowConflicts(addr *lanes64, from int) int64 {
	busy := uint32(0)
	for _, a := range addr[from : from+8] {
		busy |= 1 << (a >> 4 & 7)
	}
	if busy == 0xff {
		return 0
	}
	return groupConflicts16(addr, from)
}

func groupConflicts16(addr *lanes64, from int) int64 {
	var depth [8]int64
	worst := int64(0)
	for i := from; i < from+8; i++ {
		same := false
		for k := from; k < i; k++ {
			same = same || addr[k]>>4 == addr[i]>>4
		}
		if !same {
			depth[addr[i]>>4&7]++
			worst = max(worst, depth[addr[i]>>4&7])
		}
	}
	return worst - 1
}

// decodeMMA handles mma.sync.aligned.m16n8k16.row.col.f32.{bf16.bf16|f16.f16}.f32.
func decodeMMA(d *decoder) {
	shape := strings.Join(d.mods, ".")
	d.mods = nil
	convert := map[string]func(uint32) float32{
		"sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32": fromBF16,
		"sync.aligned.m16n8k16.row.col.f32.f16.f16.f32":   fromF16,
	}[shape]
	if convert == nil {
		d.fail("%s is not supported by the emulator, which knows m16n8k16 with bf16 or f16 and f32 sums", d.st.op)
		return
	}
	if !d.count(4, 4) {
		return
	}
	a, b32, f := d.st.args, ptxTypes["b32"], ptxTypes["f32"]
	d.in.dv = d.vector(a[0], 4, func(o operand) int32 { return d.dest(o, f) })
	d.in.av = d.vector(a[1], 4, func(o operand) int32 { return d.source(o, b32) })
	d.in.bv = d.vector(a[2], 2, func(o operand) int32 { return d.source(o, b32) })
	d.in.cv = d.vector(a[3], 4, func(o operand) int32 { return d.source(o, f) })
	d.in.ctl = ctlWarp
	d.in.exec = execMMA16
	if strings.Contains(shape, "bf16") {
		d.in.exec = execMMABF16
	}
}

// tiles are the operands of one mma as numbers: a is 16 rows of k, b is 8 columns of k.
type tiles struct {
	a matrix16
	b [8][16]float64
}

func execMMABF16(w *warp, in *inst, m uint32) error {
	if err := w.readyMMA(in, m); err != nil {
		return err
	}
	t := &w.block.tiles
	for j, slot := range in.av {
		for l, x := range &w.r32[slot] {
			row := &t.a[l>>2+8*(j&1)]
			k := (l&3*2 + 8*(j>>1)) & 15
			row[k], row[(k+1)&15] = float64(f32(x<<16)), float64(f32(x&0xffff0000))
		}
	}
	for j, slot := range in.bv[:2] {
		for l, x := range &w.r32[slot] {
			col := &t.b[l>>2]
			k := (l&3*2 + 8*j) & 15
			col[k], col[(k+1)&15] = float64(f32(x<<16)), float64(f32(x&0xffff0000))
		}
	}
	w.multiplyMMA(in, t)
	return nil
}

func execMMA16(w *warp, in *inst, m uint32) error {
	if err := w.readyMMA(in, m); err != nil {
		return err
	}
	t := &w.block.tiles
	for j, slot := range in.av {
		for l, x := range &w.r32[slot] {
			row := &t.a[l>>2+8*(j&1)]
			k := (l&3*2 + 8*(j>>1)) & 15
			row[k], row[(k+1)&15] = float64(numbersF16[x&0xffff]), float64(numbersF16[x>>16])
		}
	}
	for j, slot := range in.bv[:2] {
		for l, x := range &w.r32[slot] {
			col := &t.b[l>>2]
			k := (l&3*2 + 8*j) & 15
			col[k], col[(k+1)&15] = float64(numbersF16[x&0xffff]), float64(numbersF16[x>>16])
		}
	}
	w.multiplyMMA(in, t)
	return nil
}

func (w *warp) readyMMA(in *inst, m uint32) error {
	all := fullMask
	for j := range in.av {
		all &= w.init32[in.av[j]] & w.init32[in.bv[j]] & w.init32[in.cv[j]]
	}
	if all == fullMask {
		return nil
	}
	for j := range in.av {
		if err := first(w.ready32(in.av[j], m), w.ready32(in.bv[j], m), w.ready32(in.cv[j], m)); err != nil {
			return err
		}
	}
	return nil
}

// multiply sums the 16 exact products of a row of a and one of b with a number of c in float64 and rounds once to float32,
// into d. The GPU aligns and truncates inside, so results agree within tolerance only.
func (w *warp) multiply(d, c *[4]int32, a *matrix16, b *[8][16]float64) {
	c0, c1, c2, c3 := w.r32[c[0]], w.r32[c[1]], w.r32[c[2]], w.r32[c[3]]
	d0, d1, d2, d3 := &w.r32[d[0]], &w.r32[d[1]], &w.r32[d[2]], &w.r32[d[3]]
	for l := range d0 {
		x, y := &a[l>>2&7], &a[l>>2&7+8]
		u, v := &b[l&3*2], &b[l&3*2+1]
		var s0, s1, s2, s3 float64
		for k := 0; k < 16; k++ {
			p, q, r, t := x[k], y[k], u[k], v[k]
			s0 += p * r
			s1 += p * t
			s2 += q * r
			s3 += q * t
		}
		d0[l] = bits32(float32(s0 + float64(f32(c0[l]))))
		d1[l] = bits32(float32(s1 + float64(f32(c1[l]))))
		d2[l] = bits32(float32(s2 + float64(f32(c2[l]))))
		d3[l] = bits32(float32(s3 + float64(f32(c3[l]))))
	}
}

func (w *warp) multiplyMMA(in *inst, t *tiles) {
	w.multiply(&in.dv, &in.cv, &t.a, &t.b)
	for _, slot := range in.dv {
		w.init32[slot] = fullMask
	}
}
