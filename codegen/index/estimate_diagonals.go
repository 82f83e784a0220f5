package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/codegen/lower"
)

// Sums along diagonals of a tile. With key k0 + j and position q0 + r the distance is q0 - k0 + r - j; r - j runs from -63 to
// 63. A thread's elements lie on few diagonals: r - j of row 8i + lane/4 and key 8n + 2*quad + c is
//
//	lane/4 - 2*quad - c + 8(i - n)
//
// so it first adds those of equal i - n. The values with c = 1 then move to the lane of the next smaller row, where they meet
// those with c = 0. What is left are 12 values a lane; each of the four quads has a plane of its own in shared memory,
// indexed by r - j, and one thread adds the planes of a diagonal.
//
// Where four planes do not fit a block of every GPU, two quads write at a time, and the other two after them. Quads that share a plane must
// write the same places of it, so that no value of one is read as the other's: those that the last quad writes.
const (
	diagLowest  = -halfKeys / 8           // smallest 8(i-n) after the move: one less than before
	diagValues  = threadRows - diagLowest // -4..7
	planeOrigin = 38                      // index of r - j = 0: the smallest is -4*8 - 2*3
	planeFloats = 106                     // up to 63 and one more; 10 modulo 32: no bank is met twice
	lastQuad    = 3
	allPlanes   = lastQuad + 1
)

// regionBytes is the size of the planes of one warp.
func (l estimateLayout) regionBytes() int { return l.planes * planeFloats * 4 }

type diagonals struct {
	e       *estimator
	region  Value // of the warp
	write   Value // address of the lane's first value
	single  Value // address of plane 0 for the diagonal that only one half has
	double  Value // address in the first half's planes for the one that both have
	indices [2]Value
	out     Value // hb*dist_pad, i64
	distPad Value // i64
}

// newDiagonals clears the planes: where a plane has no value of its own, it stays zero.
func (e *estimator) newDiagonals() *diagonals {
	d := &diagonals{e: e}
	regionBytes := e.regionBytes()
	slots := e.Add(e.shared, e.Mul(e.slot, lower.I32(int64(2*regionBytes))))
	d.region = e.Add(slots, e.Mul(e.half, lower.I32(int64(regionBytes))))
	for i := 0; i < regionBytes/4; i += 32 {
		at := e.Add(d.region, e.Shl(e.lane, 2))
		in := e.ICmp(enum.IPredULT, e.lane, lower.I32(int64(regionBytes/4-i)))
		e.If("clear_plane", in, nil, func() []Value {
			e.Store(lower.F32(0), e.SharedAt(at, e.exchange+4*i), 4)
			return nil
		})
	}
	from, plane := e.Sub(e.row, e.Shl(e.quad, 1)), e.quad
	if e.planes < allPlanes {
		from, plane = e.Sub(e.row, lower.I32(2*lastQuad)), e.And(e.quad, lower.I32(int64(e.planes-1)))
	}
	from = e.Add(from, lower.I32(planeOrigin+8*diagLowest))
	d.write = e.Add(d.region, e.Add(e.Mul(plane, lower.I32(4*planeFloats)), e.Shl(from, 2)))
	d.locate(slots)
	pad := e.Add(e.Shl(e.tilesOf(e.Add(e.Param("q_offset"), e.Param("sq"))), 6), lower.I32(128))
	d.distPad = e.ZExt64(pad)
	d.out = e.Mul(e.ZExt64(e.hb), d.distPad)
	return d
}

// locate chooses the two diagonals of a thread. A tile has 128, numbered from r - j = -63; the first half of the keys has
// the numbers 32..126, the second 0..94. So the first warp takes 0..31 and 64..95, the second 96..127 and 32..63, and each
// reads one half for the first and both for the second.
func (d *diagonals) locate(slots Value) {
	e := d.e
	second := e.ICmp(enum.IPredEQ, e.half, lower.I32(1))
	choose := func(a, b int64) Value { return e.Select(second, lower.I32(b), lower.I32(a)) }
	at := e.Add(slots, e.Shl(e.lane, 2))
	d.indices = [2]Value{e.Add(e.lane, choose(0, 96)), e.Add(e.lane, choose(64, 32))}
	first := func(number int64) int64 { return 4 * (number - 63 + planeOrigin) }                 // in the planes of the first half
	other := func(number int64) int64 { return int64(e.regionBytes()) + first(number+halfKeys) } // and of the second
	d.single = e.Add(at, choose(other(0), first(96)))
	d.double = e.Add(at, choose(first(64), first(32)))
}

// addUp adds up the diagonals of a tile and stores them.
func (d *diagonals) addUp(tile Value, p scores) {
	e := d.e
	var single, double []Value
	if e.planes == allPlanes {
		d.sums(p, d.put)
		d.wait()
		single, double = d.collect(0)
		d.store(tile, single, double)
		return
	}
	var sums []Value
	d.sums(p, func(_ int, x Value) { sums = append(sums, x) })
	for quad := 0; quad < allPlanes; quad += e.planes {
		if quad > 0 {
			d.wait() // until those before have been read
		}
		first, end := lower.I32(int64(quad)), lower.I32(int64(quad+e.planes))
		mine := e.And(e.ICmp(enum.IPredUGE, e.quad, first), e.ICmp(enum.IPredULT, e.quad, end))
		e.If("put", mine, nil, func() []Value {
			for at, x := range sums {
				d.put(at, x)
			}
			return nil
		})
		d.wait()
		s, b := d.collect(quad)
		single, double = append(single, s...), append(double, b...)
	}
	d.store(tile, single, double)
}

// wait is for the two warps of a head.
func (d *diagonals) wait() { d.e.BarrierOf(d.e.Add(d.e.slot, lower.I32(1)), 64) }

// sums hands out the thread's sums, from the lowest diagonal on.
func (d *diagonals) sums(p scores, to func(at int, x Value)) {
	e := d.e
	var parts [2][diagValues][]Value
	for i, row := range p {
		for j, x := range row {
			at := i - j/2 - diagLowest
			parts[j%2][at] = append(parts[j%2][at], x)
		}
	}
	moved := d.move(parts[1])
	for at, x := range parts[0] {
		if moved[at] != nil {
			x = append(x, moved[at])
		}
		to(at, e.sum(x))
	}
}

// put writes one of the thread's sums to its plane.
func (d *diagonals) put(at int, x Value) {
	d.e.Store(x, d.e.SharedAt(d.write, d.e.exchange+4*8*at), 4)
}

// collect reads what the planes, which are those of the quads from quad on, have of the thread's two diagonals.
func (d *diagonals) collect(quad int) (single, double []Value) {
	e := d.e
	for plane := range e.planes {
		at := e.exchange + 4*planeFloats*plane
		if e.planes < allPlanes {
			at += 4 * 2 * (quad + plane - lastQuad)
		}
		single = append(single, e.Load(types.Float, e.SharedAt(d.single, at), 4))
		double = append(double, e.Load(types.Float, e.SharedAt(d.double, at), 4),
			e.Load(types.Float, e.SharedAt(d.double, at+e.regionBytes()+4*halfKeys), 4))
	}
	return single, double
}

// move sums the values with c = 1 and passes them on: row g's to row g-1, where they are on the same diagonal; row 0's to
// row 7 of eight rows before.
func (d *diagonals) move(parts [diagValues][]Value) (out [diagValues]Value) {
	e := d.e
	wraps := e.ICmp(enum.IPredEQ, e.row, lower.I32(7))
	from := e.And(e.Add(e.lane, lower.I32(4)), lower.I32(31))
	got := [diagValues + 1]Value{}
	for at := range got {
		got[at] = lower.F32(0)
		if at < diagValues && len(parts[at]) > 0 {
			got[at] = e.Call("llvm.nvvm.shfl.sync.idx.f32", types.Float, lower.I32(-1), e.sum(parts[at]), from, lower.I32(31))
		}
	}
	for at := range out {
		out[at] = e.Select(wraps, got[at+1], got[at])
	}
	return out
}

// store adds what was collected of the thread's two diagonals and stores the sums. Tiles of the same parity follow one another by
// 128 distances: two slots hold them without a gap.
func (d *diagonals) store(tile Value, single, double []Value) {
	e := d.e
	base := d.base(tile)
	slot := d.slot(tile)
	if e.Spread {
		d.add(base, slot, []Value{e.sum(single), e.sum(double)})
		return
	}
	for i, sum := range []Value{e.sum(single), e.sum(double)} {
		distance := e.Add(base, d.indices[i])
		wanted := e.And(e.valid, e.ICmp(enum.IPredSGE, distance, lower.I32(0)))
		e.If("store_diagonal", wanted, nil, func() []Value {
			e.Store(sum, e.element("diag_sum", e.Add(slot, e.ZExt64(distance))), 4)
			return nil
		})
	}
}

// base is the distance of a tile's diagonal number 0.
func (d *diagonals) base(tile Value) Value {
	e := d.e
	return e.Sub(e.Sub(e.q0, e.firstKey(tile)), e.apart(lower.I32(63)))
}

// slot is the first element of the head in the slot of a tile.
func (d *diagonals) slot(tile Value) Value {
	e := d.e
	heads := e.ZExt64(e.Mul(e.GridZ(), e.Param("hq")))
	parity := e.ZExt64(e.And(e.inClass(tile), lower.I32(1)))
	return e.Add(d.out, e.Mul(e.Mul(parity, heads), d.distPad))
}

// clear zeroes what no tile covers: the first chunk the distances above those of tiles 0 and 1, the last chunk those below
// the last two tiles'.
func (d *diagonals) clear() {
	e := d.e
	edge := func(name string, mine Value, tile Value, from, to Value) {
		e.If(name, mine, nil, func() []Value {
			d.fill(d.slot(tile), from, to)
			return nil
		})
	}
	first := e.ICmp(enum.IPredEQ, e.BlockX(), lower.I32(0))
	for tile := range int64(2) {
		top := e.Add(d.base(lower.I32(tile)), lower.I32(128))
		edge("clear_far", first, lower.I32(tile), top, e.Trunc32(d.distPad))
	}
	last := e.ICmp(enum.IPredEQ, e.BlockX(), e.Sub(e.GridX(), lower.I32(1)))
	for before := range int64(2) {
		tile := e.Sub(e.tiles, lower.I32(1+before))
		edge("clear_near", last, tile, lower.I32(0), d.base(tile))
	}
}

func (d *diagonals) fill(slot, from, to Value) {
	e := d.e
	e.While("fill", []Value{e.Add(from, e.inSlot())},
		func(v []Value) Value { return e.ICmp(enum.IPredSLT, v[0], to) },
		func(v []Value) []Value {
			e.Store(lower.F32(0), e.element("diag_sum", e.Add(slot, e.ZExt64(v[0]))), 4)
			return []Value{e.Add(v[0], lower.I32(64))}
		})
}
