package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// Sums along diagonals. With key k0 + j and position q0 + r the distance is q0 - k0 + r - j. Row 8i + g, g = lane/4, and key
// 8n + h of a piece, h = 2*quad + c, are on the diagonal
//
//	8(i - n) + g - h
//
// so a thread has the rows of one g and the keys of two h, and on a diagonal its terms have equal i - n. It adds them in
// order of i. A piece has four n: a diagonal with eight rows of a g goes through two pieces or three, and what was added in one is
// carried to the next, where i - n is larger by four. So the sum over the rows of a g is always
//
//	(((p0 + p1) + p2) + ...) + p7
//
// wherever tiles begin and end, and whatever the distance. The sums of the eight g are then added as a tree, the same for all.
// Sums of terms that are equal row by row are equal, bit by bit: a distance has no other value for where it lies.
const (
	diagGroups  = threadRows                // i - n of what ends: -3..7 in a piece
	diagLowest  = 1 - columnGroups          // smallest i - n
	diagEnds    = threadRows - columnGroups // i - n from here on has seen the last row
	windowSlots = columnGroups              // distances of a piece's window, over 8
)

// chains are a thread's sums along diagonals, by c: carried[c][a] goes on at i - n = a, nil if there is nothing; late[c]
// is the sum that ended at diagEnds in the piece before.
type chains struct {
	carried [2][diagGroups]Value
	late    [2]Value
}

func (c *chains) Values() (out []*Value) {
	for h := range 2 {
		out = append(append(out, lower.Pointers(c.carried[h][1:])...), &c.late[h])
	}
	return out
}

// filled is c with zeros for what there is nothing of. The zero chains become what a sequence of keys begins with.
func (c chains) filled() chains {
	return lower.Map(c, func(v Value) Value {
		if v == nil {
			return lower.F32(0)
		}
		return v
	})
}

// advance adds a piece's terms. ended are the sums that are complete, by c and i - n - diagEnds.
func (e *estimator) advance(c chains, p scores) (next chains, ended [2][columnGroups]Value) {
	for h := range 2 {
		for a := diagLowest; a < diagGroups; a++ {
			sum := e.chain(c, p, h, a)
			switch {
			case a < diagEnds:
				next.carried[h][a+columnGroups] = sum
			default:
				ended[h][a-diagEnds] = sum
			}
		}
		next.late[h] = ended[h][0]
	}
	return next, ended
}

// chain adds the terms of a piece with i - n = a, in order of the rows, to what was carried; nil if there is nothing.
func (e *estimator) chain(c chains, p scores, h, a int) (sum Value) {
	if a > 0 {
		sum = c.carried[h][a]
	}
	for n := max(0, -a); n < columnGroups && a+n < threadRows; n++ {
		switch x := p[a+n][2*n+h]; {
		case x == nil:
		case sum == nil:
			sum = x
		default:
			sum = e.FAdd(sum, x)
		}
	}
	return sum
}

// The window of a piece are the 32 distances that begin 32 above q0 - k0. Their sums have ended in this piece or, where g < h, in the
// one before. Each g has a plane of shared memory for them; planes are apart so that no bank is met twice.
const (
	windowSize  = 8 * windowSlots
	windowFirst = 32
	planeShift  = 8 // every second plane is moved by so many more
	planeFloats = windowSize*threadRows + planeShift*(threadRows/2-1)
	regionBytes = 4 * planeFloats // of one warp
)

func planeAt(g int) int { return windowSize*g + planeShift*(g/2) }

type diagonals struct {
	e       *estimator
	late    [2]Value // i1 by c: g < h
	write   [2]Value // address of slot 0 by c
	read    Value    // address of the lane's distance in plane 0
	out     Value    // hb*dist_pad, i64
	distPad Value    // i64
}

func (e *estimator) newDiagonals() *diagonals {
	d := &diagonals{e: e}
	warp := e.Add(e.Shl(e.slot, 1), e.half)
	region := e.Add(e.shared, e.Mul(warp, lower.I32(regionBytes)))
	plane := e.Add(e.Shl(e.row, 5), e.Shl(e.LShr(e.row, 1), 3))
	for c := range d.write {
		h := e.Add(e.Shl(e.quad, 1), lower.I32(int64(c)))
		d.late[c] = e.ICmp(enum.IPredSLT, e.row, h)
		at := e.Add(plane, e.And(e.Sub(e.row, h), lower.I32(7)))
		d.write[c] = e.Add(region, e.Shl(at, 2))
	}
	d.read = e.Add(region, e.Shl(e.lane, 2))
	pad := e.Add(e.Shl(e.tilesOf(e.Add(e.Param("q_offset"), e.Param("sq"))), 6), lower.I32(128))
	d.distPad = e.ZExt64(pad)
	d.out = e.Mul(e.ZExt64(e.hb), d.distPad)
	return d
}

// window adds up the sums of the lane's distance over the eight g. late are the sums that ended in the piece before.
func (d *diagonals) window(late [2]Value, ended [2][columnGroups]Value) Value {
	e := d.e
	for c := range ended {
		for slot := range windowSlots {
			before := late[c]
			if slot+1 < windowSlots {
				before = ended[c][slot+1]
			}
			x := e.Select(d.late[c], before, ended[c][slot])
			e.Store(x, e.SharedAt(d.write[c], e.exchange+4*8*slot), 4)
		}
	}
	e.WarpSync()
	var planes []Value
	for g := range threadRows {
		planes = append(planes, e.Load(types.Float, e.SharedAt(d.read, e.exchange+4*planeAt(g)), 4))
	}
	return e.sum(planes)
}

// store stores the sum of the lane's distance in the window of a piece that begins at key first.
func (d *diagonals) store(first, there, sum Value) {
	e := d.e
	distance := e.Add(e.Sub(e.q0, first), e.apart(e.Add(e.lane, lower.I32(windowFirst))))
	if e.Spread {
		d.add(distance, there, sum)
		return
	}
	e.If("store_diagonal", e.And(there, e.ICmp(enum.IPredSGE, distance, lower.I32(0))), func() {
		e.Store(sum, e.element("diag_sum", e.Add(d.out, e.ZExt64(distance))), 4)
	})
}

// clear zeroes what no window covers: the first chunk the distances above the first piece's, the last chunk the distances below the
// last one's.
func (d *diagonals) clear() {
	e := d.e
	top := e.Add(e.q0, lower.I32(windowFirst+windowSize))
	edge := func(name string, mine, from, to Value) {
		e.If(name, mine, func() {
			d.fill(from, to)
		})
	}
	edge("clear_far", e.ICmp(enum.IPredEQ, e.BlockX(), lower.I32(0)), top, e.Trunc32(d.distPad))
	last := e.ICmp(enum.IPredEQ, e.BlockX(), e.Sub(e.GridX(), lower.I32(1)))
	covered := e.Add(e.pieces, e.flush)
	edge("clear_near", last, lower.I32(0), e.Sub(top, e.Shl(covered, 5)))
}

func (d *diagonals) fill(from, to Value) {
	e := d.e
	e.While("fill", e.Add(from, e.inSlot()),
		func(distance Value) Value { return e.ICmp(enum.IPredSLT, distance, to) },
		func(distance Value) Value {
			e.Store(lower.F32(0), e.element("diag_sum", e.Add(d.out, e.ZExt64(distance))), 4)
			return e.Add(distance, lower.I32(64))
		})
}
