package emu

import "math/bits"

// ready32, ready64 and readyP check that the active lanes of a source were written.
func (w *warp) ready32(slot int32, m uint32) error {
	if w.init32[slot]&m != m {
		if err := w.hiddenSum(slot, m); err != nil {
			return err
		}
		return laneError(m&^w.init32[slot], "reads register %s, which was never written", w.block.run.k.nameOf(slot, class32))
	}
	return nil
}

func (w *warp) ready64(slot int32, m uint32) error {
	if w.init64[slot]&m != m {
		return laneError(m&^w.init64[slot], "reads register %s, which was never written", w.block.run.k.nameOf(slot, class64))
	}
	return nil
}

func (w *warp) readyP(slot int32, m uint32) error {
	if w.initP[slot]&m != m {
		return laneError(m&^w.initP[slot], "reads predicate %s, which was never written", w.block.run.k.nameOf(slot, classPred))
	}
	return nil
}

func (w *warp) ready3(in *inst, m uint32) error {
	if w.init32[in.a]&w.init32[in.b]&w.init32[in.c]&m == m {
		return nil
	}
	return first(w.ready32(in.a, m), w.ready32(in.b, m), w.ready32(in.c, m))
}

func first(errs ...error) error {
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}

// store32 writes the active lanes of a result.
func (w *warp) store32(slot int32, v *lanes, m uint32) {
	d := &w.r32[slot]
	if m == fullMask {
		*d = *v
	} else {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m) & 31
			d[i] = v[i]
		}
	}
}

func (w *warp) store64(slot int32, v *lanes64, m uint32) {
	d := &w.r64[slot]
	for ; m != 0; m &= m - 1 {
		i := bits.TrailingZeros32(m) & 31
		d[i] = v[i]
	}
}

// execALU32 runs a lane function in place when all lanes are active.
func execALU32(w *warp, in *inst, m uint32) error {
	if w.init32[in.a]&w.init32[in.b]&w.init32[in.c]&m != m {
		return w.ready3(in, m)
	}
	if m == fullMask {
		in.f32(&w.r32[in.d], &w.r32[in.a], &w.r32[in.b], &w.r32[in.c])
	} else {
		in.f32(&w.tmp, &w.r32[in.a], &w.r32[in.b], &w.r32[in.c])
		w.store32(in.d, &w.tmp, m)
	}
	w.init32[in.d] |= m
	return nil
}

// execFlush32 is execALU32 with subnormal inputs and results replaced by zero.
func execFlush32(w *warp, in *inst, m uint32) error {
	if err := w.ready3(in, m); err != nil {
		return err
	}
	a, b, c := &w.flushed[0], &w.flushed[1], &w.flushed[2] // a local would go to the heap
	*a, *b, *c = w.r32[in.a], w.r32[in.b], w.r32[in.c]
	flushAll(a)
	flushAll(b)
	flushAll(c)
	in.f32(&w.tmp, a, b, c)
	flushAll(&w.tmp)
	w.store32(in.d, &w.tmp, m)
	w.init32[in.d] |= m
	return nil
}

func execALU64(w *warp, in *inst, m uint32) error {
	if w.init64[in.a]&w.init64[in.b]&w.init64[in.c]&m != m {
		return first(w.ready64(in.a, m), w.ready64(in.b, m), w.ready64(in.c, m))
	}
	if m == fullMask {
		in.f64(&w.r64[in.d], &w.r64[in.a], &w.r64[in.b], &w.r64[in.c])
	} else {
		in.f64(&w.tmp64, &w.r64[in.a], &w.r64[in.b], &w.r64[in.c])
		w.store64(in.d, &w.tmp64, m)
	}
	w.init64[in.d] |= m
	return nil
}

func execShift64(w *warp, in *inst, m uint32, fn func(uint64, uint32) uint64) error {
	if err := first(w.ready64(in.a, m), w.ready32(in.b, m)); err != nil {
		return err
	}
	a, b := &w.r64[in.a], &w.r32[in.b]
	for i := range w.tmp64 {
		w.tmp64[i] = fn(a[i], b[i])
	}
	w.store64(in.d, &w.tmp64, m)
	w.init64[in.d] |= m
	return nil
}

// execWide multiplies to 64 bits and adds c, which is the constant zero for mul.wide.
func execWide(w *warp, in *inst, m uint32, fn func(a, b uint32) uint64) error {
	if err := first(w.ready32(in.a, m), w.ready32(in.b, m), w.ready64(in.c, m)); err != nil {
		return err
	}
	a, b, c := &w.r32[in.a], &w.r32[in.b], &w.r64[in.c]
	for i := range w.tmp64 {
		w.tmp64[i] = fn(a[i], b[i]) + c[i]
	}
	w.store64(in.d, &w.tmp64, m)
	w.init64[in.d] |= m
	return nil
}

var counts64 = map[string]func(uint64) uint64{
	"popc.b64": func(x uint64) uint64 { return uint64(bits.OnesCount64(x)) },
	"clz.b64":  func(x uint64) uint64 { return uint64(bits.LeadingZeros64(x)) },
}

// execConvert reads either file and writes either file.
func execConvert(w *warp, in *inst, m uint32) error {
	if in.wideA {
		if err := w.ready64(in.a, m); err != nil {
			return err
		}
		w.tmp64 = w.r64[in.a]
	} else {
		if err := w.ready32(in.a, m); err != nil {
			return err
		}
		for i, x := range &w.r32[in.a] {
			if in.ftz {
				x = flush(x)
			}
			w.tmp64[i] = uint64(x)
		}
	}
	for i, x := range w.tmp64 {
		w.tmp64[i] = in.conv(x)
	}
	w.storeAny(in.d, in.wideD, m)
	return nil
}

// storeAny writes tmp64 to a slot of either file.
func (w *warp) storeAny(slot int32, wide bool, m uint32) {
	if wide {
		w.store64(slot, &w.tmp64, m)
		w.init64[slot] |= m
		return
	}
	for i, x := range w.tmp64 {
		w.tmp[i] = uint32(x)
	}
	w.store32(slot, &w.tmp, m)
	w.init32[slot] |= m
}

func execUnpack(w *warp, in *inst, m uint32) error {
	if in.wideA {
		if err := w.ready64(in.a, m); err != nil {
			return err
		}
		w.tmp64 = w.r64[in.a]
	} else {
		if err := w.ready32(in.a, m); err != nil {
			return err
		}
		for i, x := range &w.r32[in.a] {
			w.tmp64[i] = uint64(x)
		}
	}
	mask := uint64(1)<<(8*in.size) - 1
	for j := 0; j < in.vec; j++ {
		for i, x := range w.tmp64 {
			w.tmp[i] = uint32(x >> (8 * in.size * j) & mask)
		}
		w.store32(in.dv[j], &w.tmp, m)
		w.init32[in.dv[j]] |= m
	}
	return nil
}

func execPack(w *warp, in *inst, m uint32) error {
	w.tmp64 = lanes64{}
	for j := 0; j < in.vec; j++ {
		if err := w.ready32(in.av[j], m); err != nil {
			return err
		}
		for i, x := range &w.r32[in.av[j]] {
			w.tmp64[i] |= uint64(x) << (8 * in.size * j)
		}
	}
	w.storeAny(in.d, in.wideD, m)
	return nil
}

func execBfi(w *warp, in *inst, m uint32) error {
	s := &in.av
	if err := first(w.ready32(s[0], m), w.ready32(s[1], m), w.ready32(s[2], m), w.ready32(s[3], m)); err != nil {
		return err
	}
	for i := range w.tmp {
		w.tmp[i] = bfi(w.r32[s[0]][i], w.r32[s[1]][i], w.r32[s[2]][i], w.r32[s[3]][i])
	}
	w.store32(in.d, &w.tmp, m)
	w.init32[in.d] |= m
	return nil
}

func execSelp(w *warp, in *inst, m uint32) error {
	if err := w.readyP(in.c, m); err != nil {
		return err
	}
	p := w.pred[in.c]
	if in.notC {
		p = ^p
	}
	if in.wideD {
		if err := first(w.ready64(in.a, m), w.ready64(in.b, m)); err != nil {
			return err
		}
		a, b := &w.r64[in.a], &w.r64[in.b]
		for i := range w.tmp64 {
			w.tmp64[i] = b[i]
			if p>>i&1 != 0 {
				w.tmp64[i] = a[i]
			}
		}
		w.storeAny(in.d, true, m)
		return nil
	}
	if err := first(w.ready32(in.a, m), w.ready32(in.b, m)); err != nil {
		return err
	}
	a, b := &w.r32[in.a], &w.r32[in.b]
	for i := range w.tmp {
		w.tmp[i] = b[i]
		if p>>i&1 != 0 {
			w.tmp[i] = a[i]
		}
	}
	w.store32(in.d, &w.tmp, m)
	w.init32[in.d] |= m
	return nil
}

var predOps = map[string]func(a, b uint32) uint32{
	"and.pred": func(a, b uint32) uint32 { return a & b },
	"or.pred":  func(a, b uint32) uint32 { return a | b },
	"xor.pred": func(a, b uint32) uint32 { return a ^ b },
	"not.pred": func(a, _ uint32) uint32 { return ^a },
}

func (w *warp) storePred(slot int32, v, m uint32) {
	w.pred[slot] = w.pred[slot]&^m | v&m
	w.initP[slot] |= m
}

func execPred(w *warp, in *inst, m uint32, fn func(a, b uint32) uint32) error {
	if err := w.readyP(in.a, m); err != nil {
		return err
	}
	if err := w.readyP(in.c, m); err != nil {
		return err
	}
	a, b := w.pred[in.a], w.pred[in.c]
	if in.notA {
		a = ^a
	}
	if in.notC {
		b = ^b
	}
	w.storePred(in.d, fn(a, b), m)
	return nil
}

func execPredImm(w *warp, in *inst, m uint32) error {
	v := uint32(0)
	if in.imm != 0 {
		v = fullMask
	}
	w.storePred(in.d, v, m)
	return nil
}

func execTrap(_ *warp, _ *inst, m uint32) error { return laneError(m, "executes trap") }

func execActivemask(w *warp, in *inst, m uint32) error {
	for i := range w.tmp {
		w.tmp[i] = m
	}
	w.store32(in.d, &w.tmp, m)
	w.init32[in.d] |= m
	return nil
}

// outcomes of a comparison, as bits of inst.want.
const (
	isLT = 1 << iota
	isEQ
	isGT
	isUn // unordered: one side is NaN
)

var comparisons = map[string]uint8{
	"eq": isEQ, "ne": isLT | isGT, "lt": isLT, "le": isLT | isEQ, "gt": isGT, "ge": isGT | isEQ,
	"lo": isLT, "ls": isLT | isEQ, "hi": isGT, "hs": isGT | isEQ,
	"equ": isEQ | isUn, "neu": isLT | isGT | isUn, "ltu": isLT | isUn, "leu": isLT | isEQ | isUn,
	"gtu": isGT | isUn, "geu": isGT | isEQ | isUn, "num": isLT | isEQ | isGT, "nan": isUn,
}

// comparison says which outcomes satisfy a comparison, and whether it suits the type.
func comparison(name string, t ptxType) (uint8, bool) {
	w, ok := comparisons[name]
	unsignedOnly := name == "lo" || name == "ls" || name == "hi" || name == "hs"
	floatOnly := len(name) == 3
	switch {
	case unsignedOnly && (t.signed || t.float), floatOnly && !t.float, t.float && t.bytes != 4:
		ok = false
	}
	return w, ok
}

var comparers = map[string]func(w *warp, in *inst) (lt, eq, un uint32){
	"u16": compareU32, "b16": compareU32, "s16": compareS16,
	"u32": compareU32, "b32": compareU32, "s32": compareS32, "f32": compareF32,
	"u64": compareU64, "b64": compareU64, "s64": compareS64,
}

func compareU32(w *warp, in *inst) (lt, eq, un uint32) {
	a, b := &w.r32[in.a], &w.r32[in.b]
	for i := range a {
		if a[i] < b[i] {
			lt |= 1 << i
		} else if a[i] == b[i] {
			eq |= 1 << i
		}
	}
	return lt, eq, 0
}

func compareS32(w *warp, in *inst) (lt, eq, un uint32) {
	a, b := &w.r32[in.a], &w.r32[in.b]
	for i := range a {
		if int32(a[i]) < int32(b[i]) {
			lt |= 1 << i
		} else if a[i] == b[i] {
			eq |= 1 << i
		}
	}
	return lt, eq, 0
}

func compareS16(w *warp, in *inst) (lt, eq, un uint32) {
	a, b := &w.r32[in.a], &w.r32[in.b]
	for i := range a {
		if int16(a[i]) < int16(b[i]) {
			lt |= 1 << i
		} else if int16(a[i]) == int16(b[i]) {
			eq |= 1 << i
		}
	}
	return lt, eq, 0
}

func compareF32(w *warp, in *inst) (lt, eq, un uint32) {
	a, b := w.r32[in.a], w.r32[in.b]
	if in.ftz {
		flushAll(&a)
		flushAll(&b)
	}
	for i := range a {
		x, y := f32(a[i]), f32(b[i])
		switch {
		case x < y:
			lt |= 1 << i
		case x == y:
			eq |= 1 << i
		case x != x || y != y:
			un |= 1 << i
		}
	}
	return lt, eq, un
}

func compareU64(w *warp, in *inst) (lt, eq, un uint32) {
	a, b := &w.r64[in.a], &w.r64[in.b]
	for i := range a {
		if a[i] < b[i] {
			lt |= 1 << i
		} else if a[i] == b[i] {
			eq |= 1 << i
		}
	}
	return lt, eq, 0
}

func compareS64(w *warp, in *inst) (lt, eq, un uint32) {
	a, b := &w.r64[in.a], &w.r64[in.b]
	for i := range a {
		if int64(a[i]) < int64(b[i]) {
			lt |= 1 << i
		} else if a[i] == b[i] {
			eq |= 1 << i
		}
	}
	return lt, eq, 0
}

func execSetp(w *warp, in *inst, m uint32) error {
	if err := w.readySetp(in, m); err != nil {
		return err
	}
	lt, eq, un := in.cmp(w, in)
	var p uint32
	if in.want&isLT != 0 {
		p |= lt
	}
	if in.want&isEQ != 0 {
		p |= eq
	}
	if in.want&isUn != 0 {
		p |= un
	}
	if in.want&isGT != 0 {
		p |= ^(lt | eq | un)
	}
	q := ^p
	if in.mode != 0 {
		c := w.pred[in.c]
		if in.notC {
			c = ^c
		}
		p, q = combine(in.mode, p, c), combine(in.mode, q, c)
	}
	w.storePred(in.d, p, m)
	if !in.dead2 {
		w.storePred(in.d2, q, m)
	}
	return nil
}

func (w *warp) readySetp(in *inst, m uint32) error {
	if in.mode != 0 {
		if err := w.readyP(in.c, m); err != nil {
			return err
		}
	}
	if in.wideA {
		return first(w.ready64(in.a, m), w.ready64(in.b, m))
	}
	return first(w.ready32(in.a, m), w.ready32(in.b, m))
}

// combine applies the Boolean operator of a setp, named by its first letter.
func combine(op uint8, p, c uint32) uint32 {
	switch op {
	case 'a':
		return p & c
	case 'o':
		return p | c
	default:
		return p ^ c
	}
}
