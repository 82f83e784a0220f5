package emu

import (
	"math/bits"
	"strings"
)

// members checks that the lanes named by a .sync instruction's mask are exactly the lanes that execute it.
func (w *warp) members(in *inst, slot int32, m uint32) error {
	if err := w.ready32(slot, m); err != nil {
		return err
	}
	for k := m; k != 0; k &= k - 1 {
		lane := bits.TrailingZeros32(k) & 31
		want := w.r32[slot][lane] & w.lanes
		if want == m {
			continue
		}
		if gone := want & w.done; gone != 0 {
			return laneError(gone, "%s names lanes that have exited", in.name)
		}
		if late := want &^ m; late != 0 {
			return laneError(late, "%s is executed by a diverged warp: its member mask names lanes that are elsewhere", in.name)
		}
		return laneError(m&^want, "%s is executed by lanes that its member mask does not name", in.name)
	}
	return nil
}

// memberMask decodes the last operand.
func (d *decoder) memberMask() int32 {
	return d.source(d.st.args[len(d.st.args)-1], ptxTypes["b32"])
}

// decodeShfl handles shfl.sync.{up,down,bfly,idx}.b32 d[|p], a, b, c, mask.
func decodeShfl(d *decoder) {
	d.oneOf("sync")
	mode := d.oneOf("up", "down", "bfly", "idx")
	d.oneOf("b32")
	a, t := d.st.args, ptxTypes["b32"]
	if !d.count(5, 5) {
		return
	}
	d.in.dead2 = true
	dst := a[0]
	if dst.kind == argPair {
		dst = a[0].list[0]
		if a[0].list[1].kind != argSink {
			d.in.d2, d.in.dead2 = d.reg(a[0].list[1], classPred), false
		}
	}
	d.in.d, d.in.a, d.in.b, d.in.c = d.dest(dst, t), d.source(a[1], t), d.source(a[2], t), d.source(a[3], t)
	d.in.av[0] = d.memberMask()
	if mode != "" {
		d.in.mode = mode[0]
	}
	d.in.exec = execShfl
}

// shflSource is the lane that a lane reads, and whether it is in range; out of range it reads itself.
// c holds a clamp in its low bits and a segment mask from bit 8.
func shflSource(mode uint8, lane int, b, c uint32) (int, bool) {
	l, n, clamp, seg := uint32(lane), b&31, c&31, c>>8&31
	low := l & seg
	bound := low | clamp&^seg
	var j uint32
	ok := false
	switch mode {
	case 'u':
		j = l - n
		ok = int32(j) >= int32(bound)
	case 'd':
		j = l + n
		ok = j <= bound
	case 'b':
		j = l ^ n
		ok = j <= bound
	default:
		j = low | n&^seg
		ok = j <= bound
	}
	if !ok {
		return lane, false
	}
	return int(j & 31), true
}

func execShfl(w *warp, in *inst, m uint32) error {
	if err := w.members(in, in.av[0], m); err != nil {
		return err
	}
	if err := first(w.ready32(in.a, m), w.ready32(in.b, m), w.ready32(in.c, m)); err != nil {
		return err
	}
	var inRange uint32
	a, b, c := &w.r32[in.a], &w.r32[in.b], &w.r32[in.c]
	for k := m; k != 0; k &= k - 1 {
		lane := bits.TrailingZeros32(k) & 31
		j, ok := shflSource(in.mode, lane, b[lane], c[lane])
		if m>>j&1 == 0 {
			return oneLane(lane, "reads the register of lane %d, which does not take part", j)
		}
		w.tmp[lane] = a[j]
		if ok {
			inRange |= 1 << lane
		}
	}
	w.store32(in.d, &w.tmp, m)
	w.init32[in.d] |= m
	if !in.dead2 {
		w.storePred(in.d2, inRange, m)
	}
	return nil
}

// decodeVote handles vote.sync.{all,any,uni}.pred and vote.sync.ballot.b32.
func decodeVote(d *decoder) {
	d.oneOf("sync")
	mode := d.oneOf("all", "any", "uni", "ballot")
	a := d.st.args
	if !d.count(3, 3) {
		return
	}
	if mode == "ballot" {
		d.oneOf("b32")
		d.in.d = d.dest(a[0], ptxTypes["b32"])
	} else {
		d.oneOf("pred")
		d.in.d = d.reg(a[0], classPred)
	}
	d.in.c, d.in.notC = d.pred(a[1])
	d.in.av[0] = d.memberMask()
	d.in.exec = func(w *warp, in *inst, m uint32) error { return execVote(w, in, m, mode) }
}

func execVote(w *warp, in *inst, m uint32, mode string) error {
	if err := first(w.members(in, in.av[0], m), w.readyP(in.c, m)); err != nil {
		return err
	}
	p := w.pred[in.c]
	if in.notC {
		p = ^p
	}
	p &= m
	if mode == "ballot" {
		w.tmp = splat(p)
		w.store32(in.d, &w.tmp, m)
		w.init32[in.d] |= m
		return nil
	}
	yes := mode == "all" && p == m || mode == "any" && p != 0 || mode == "uni" && (p == 0 || p == m)
	v := uint32(0)
	if yes {
		v = fullMask
	}
	w.storePred(in.d, v, m)
	return nil
}

// reductions are the operations of redux.sync.
var reductions = map[string]func(x, y uint32) uint32{
	"add.u32": func(x, y uint32) uint32 { return x + y },
	"add.s32": func(x, y uint32) uint32 { return x + y },
	"min.u32": func(x, y uint32) uint32 { return min(x, y) },
	"max.u32": func(x, y uint32) uint32 { return max(x, y) },
	"min.s32": func(x, y uint32) uint32 { return uint32(min(int32(x), int32(y))) },
	"max.s32": func(x, y uint32) uint32 { return uint32(max(int32(x), int32(y))) },
	"and.b32": func(x, y uint32) uint32 { return x & y },
	"or.b32":  func(x, y uint32) uint32 { return x | y },
	"xor.b32": func(x, y uint32) uint32 { return x ^ y },
}

func decodeRedux(d *decoder) {
	d.oneOf("sync")
	fn := reductions[strings.Join(d.mods, ".")]
	if fn == nil {
		d.fail("instruction %s is not supported by the emulator", d.st.op)
		return
	}
	d.mods = nil
	a, t := d.st.args, ptxTypes["b32"]
	if !d.count(3, 3) {
		return
	}
	d.in.d, d.in.a, d.in.av[0] = d.dest(a[0], t), d.source(a[1], t), d.memberMask()
	d.in.exec = func(w *warp, in *inst, m uint32) error { return execRedux(w, in, m, fn) }
}

func execRedux(w *warp, in *inst, m uint32, fn func(x, y uint32) uint32) error {
	if err := first(w.members(in, in.av[0], m), w.ready32(in.a, m)); err != nil {
		return err
	}
	a := &w.r32[in.a]
	lane := bits.TrailingZeros32(m) & 31
	sum := a[lane]
	for k := m & (m - 1); k != 0; k &= k - 1 {
		sum = fn(sum, a[bits.TrailingZeros32(k)&31])
	}
	w.tmp = splat(sum)
	w.store32(in.d, &w.tmp, m)
	w.init32[in.d] |= m
	return nil
}

// decodeElect handles elect.sync d|p, mask.
func decodeElect(d *decoder) {
	d.oneOf("sync")
	a := d.st.args
	if !d.count(2, 2) {
		return
	}
	if a[0].kind != argPair {
		d.fail("found %s, elect.sync wants a pair d|p", describe(a[0]))
		return
	}
	d.in.d, d.in.d2 = d.dest(a[0].list[0], ptxTypes["b32"]), d.reg(a[0].list[1], classPred)
	d.in.av[0] = d.memberMask()
	d.in.exec = execElect
}

// execElect elects the same lane of a mask every time, but not the same one in every block: no kernel may count on it.
func execElect(w *warp, in *inst, m uint32) error {
	if err := w.members(in, in.av[0], m); err != nil {
		return err
	}
	left := m
	for range w.block.elects % bits.OnesCount32(m) {
		left &= left - 1
	}
	leader := bits.TrailingZeros32(left)
	w.tmp = splat(uint32(leader))
	w.store32(in.d, &w.tmp, m)
	w.init32[in.d] |= m
	w.storePred(in.d2, 1<<leader, m)
	return nil
}
