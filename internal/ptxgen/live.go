package ptxgen

import (
	"math/bits"
	"sort"
)

// Positions: every instruction has two, 2k where it reads and 2k+1 where it writes. Each block starts with a slot of its
// own, where its phis are written, and ends with one for its terminator. Numbers grow along the layout.

// span is a half-open range of positions.
type span struct{ from, to int32 }

// lives holds, for each register, the sorted disjoint spans in which its value is needed.
type lives [][]span

// bitset is a set of registers.
type bitset []uint64

func (b bitset) has(r vreg) bool { return b[r>>6]&(1<<(r&63)) != 0 }
func (b bitset) add(r vreg)      { b[r>>6] |= 1 << (r & 63) }

// each calls do for every member in ascending order.
func (b bitset) each(do func(vreg)) {
	for i, w := range b {
		for ; w != 0; w &= w - 1 {
			do(vreg(i<<6 + bits.TrailingZeros64(w)))
		}
	}
}

// reads calls do for every register an instruction reads.
func (m *minst) reads(do func(vreg)) {
	for _, o := range m.ops[m.ndef:] {
		if isReg(o) {
			do(o.reg)
		}
	}
}

// liveness computes which registers are needed behind each block, phi arguments included.
func liveness(f *mfunc) (in, out []bitset) {
	words := (len(f.classes) + 63) / 64
	in, out = make([]bitset, len(f.blocks)), make([]bitset, len(f.blocks))
	pool := make(bitset, words*len(f.blocks)*3)
	kill := make([]bitset, len(f.blocks))
	for i := range f.blocks {
		for _, set := range []*bitset{&in[i], &out[i], &kill[i]} {
			*set, pool = pool[:words:words], pool[words:]
		}
		f.blocks[i].exposed(in[i], kill[i])
	}
	for i := range f.blocks {
		f.eachPhiArg(i, func(pred int, r vreg) { out[pred].add(r) })
	}
	for changed := true; changed; {
		changed = false
		for i := len(f.blocks) - 1; i >= 0; i-- {
			for _, s := range f.blocks[i].succs {
				changed = merge(out[i], in[s]) || changed
			}
			changed = mergeWithout(in[i], out[i], kill[i]) || changed
		}
	}
	return in, out
}

// exposed gathers what the block reads before writing it, and what it writes.
func (b *mblock) exposed(read, written bitset) {
	for _, p := range b.phis {
		written.add(p.dst)
	}
	use := func(r vreg) {
		if !written.has(r) {
			read.add(r)
		}
	}
	for i := range b.insts {
		b.insts[i].reads(use)
		for _, o := range b.insts[i].ops[:b.insts[i].ndef] {
			written.add(o.reg)
		}
	}
	if b.term.kind == termCondBr {
		use(b.term.cond)
	}
}

// eachPhiArg calls do for the registers that the phis of block i take from its predecessors.
func (f *mfunc) eachPhiArg(i int, do func(pred int, r vreg)) {
	for _, p := range f.blocks[i].phis {
		for k, a := range p.args {
			if isReg(a) {
				do(f.blocks[i].preds[k], a.reg)
			}
		}
	}
}

func merge(dst, src bitset) bool {
	changed := false
	for i, w := range src {
		if w&^dst[i] != 0 {
			dst[i] |= w
			changed = true
		}
	}
	return changed
}

// mergeWithout adds src less without to dst.
func mergeWithout(dst, src, without bitset) bool {
	changed := false
	for i, w := range src {
		if w = w &^ without[i]; w&^dst[i] != 0 {
			dst[i] |= w
			changed = true
		}
	}
	return changed
}

// spansOf turns liveness into spans.
func spansOf(f *mfunc, out []bitset) lives {
	w := &spanWriter{end: make([]int32, len(f.classes)), found: make([]foundSpan, 0, len(f.classes)*5/4)}
	pos := int32(0)
	starts := make([]int32, len(f.blocks)+1)
	for i := range f.blocks {
		starts[i] = pos
		pos += 2 * int32(len(f.blocks[i].insts)+2)
	}
	starts[len(f.blocks)] = pos
	for i := len(f.blocks) - 1; i >= 0; i-- {
		w.block(&f.blocks[i], out[i], starts[i], starts[i+1])
	}
	return w.lives(len(f.classes))
}

// spanWriter walks backwards; end[r] is where r's open span ends, 0 when none is open.
type spanWriter struct {
	end   []int32
	open  []vreg // registers opened in this block, some closed again
	found []foundSpan
}

type foundSpan struct {
	r vreg
	span
}

func (w *spanWriter) block(b *mblock, out bitset, start, stop int32) {
	w.open = w.open[:0]
	out.each(func(r vreg) { w.use(r, stop) })
	pos := stop - 2
	if b.term.kind == termCondBr {
		w.use(b.term.cond, pos+1)
	}
	for i := len(b.insts) - 1; i >= 0; i-- {
		pos -= 2
		w.inst(&b.insts[i], pos)
	}
	for _, p := range b.phis {
		w.define(p.dst, start)
	}
	for _, r := range w.open { // live into the block
		if w.end[r] != 0 {
			w.define(r, start)
		}
	}
}

func (w *spanWriter) inst(m *minst, pos int32) {
	written := pos + 1
	if m.early {
		written = pos
	}
	for _, o := range m.ops[:m.ndef] {
		w.define(o.reg, written)
	}
	for k, o := range m.ops {
		if k < m.ndef || !isReg(o) {
			continue
		}
		if m.isTied(k) {
			w.use(o.reg, pos) // a tied operand makes room for its result
		} else {
			w.use(o.reg, pos+1)
		}
	}
}

func (m *minst) isTied(k int) bool {
	for _, t := range m.ties {
		if t.use == k {
			return true
		}
	}
	return false
}

func (w *spanWriter) use(r vreg, end int32) {
	if w.end[r] == 0 {
		w.end[r] = end
		w.open = append(w.open, r)
	}
}

// define closes the span of r at pos; a result nobody reads lives for a moment, so that it overwrites nothing.
func (w *spanWriter) define(r vreg, pos int32) {
	end := w.end[r]
	if end == 0 {
		end = pos + 1
	}
	w.end[r] = 0
	w.found = append(w.found, foundSpan{r, span{pos, end}})
}

// lives sorts the spans by register; they were found from the back.
func (w *spanWriter) lives(n int) lives {
	first := make([]int32, n+1)
	for _, f := range w.found {
		first[f.r+1]++
	}
	for i := 1; i <= n; i++ {
		first[i] += first[i-1]
	}
	pool := make([]span, len(w.found))
	next := append([]int32(nil), first...)
	for i := len(w.found) - 1; i >= 0; i-- {
		f := w.found[i]
		pool[next[f.r]] = f.span
		next[f.r]++
	}
	ls := make(lives, n)
	for r := range ls {
		ls[r] = joinAdjacent(pool[first[r]:first[r+1]:first[r+1]])
	}
	return ls
}

// joinAdjacent sorts spans in place and joins spans that touch.
func joinAdjacent(s []span) []span {
	if len(s) < 2 {
		return s
	}
	sort.Slice(s, func(i, j int) bool { return s[i].from < s[j].from })
	n := 0
	for _, x := range s {
		if n > 0 && s[n-1].to >= x.from {
			s[n-1].to = max(s[n-1].to, x.to)
			continue
		}
		s[n] = x
		n++
	}
	return s[:n]
}
