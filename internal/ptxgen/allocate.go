package ptxgen

// allocate leaves SSA. Phis, tied asm operands and accumulators share a register where their lives do not meet; for the
// rest, copies go to the edges (phis) or stay in front of the instruction (ties).
func allocate(f *mfunc) {
	in, out := liveness(f)
	j := newJoiner(f, spansOf(f, out))
	j.ties()
	j.phis(true)
	j.phis(false)
	j.copies()
	j.hints()
	f.root = j.flatten()
	dropCopies(f)
	placePhiCopies(f, in)
}

// joiner merges registers into classes; a class has the union of its members' spans.
type joiner struct {
	f      *mfunc
	parent []vreg
	live   lives
}

func newJoiner(f *mfunc, live lives) *joiner {
	j := &joiner{f: f, parent: make([]vreg, len(f.classes)), live: live}
	for i := range j.parent {
		j.parent[i] = vreg(i)
	}
	return j
}

func (j *joiner) find(r vreg) vreg {
	for j.parent[r] != r {
		j.parent[r] = j.parent[j.parent[r]]
		r = j.parent[r]
	}
	return r
}

// try joins a and b unless both are needed at once somewhere.
func (j *joiner) try(a, b vreg) bool {
	a, b = j.find(a), j.find(b)
	switch {
	case a == b:
		return true
	case j.f.classes[a] != j.f.classes[b] || meet(j.live[a], j.live[b]):
		return false
	}
	j.join(a, b)
	return true
}

func (j *joiner) join(a, b vreg) {
	if b < a {
		a, b = b, a
	}
	j.parent[b] = a
	j.live[a], j.live[b] = mergeSpans(j.live[a], j.live[b]), nil
}

// meet says whether two sorted lists of spans overlap.
func meet(a, b []span) bool {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].to <= b[0].from:
			a = a[1:]
		case b[0].to <= a[0].from:
			b = b[1:]
		default:
			return true
		}
	}
	return false
}

// mergeSpans merges two sorted lists whose members do not overlap.
func mergeSpans(a, b []span) []span {
	if len(a) > 0 && len(b) > 0 && b[len(b)-1].to <= a[0].from {
		a, b = b, a
	}
	if len(a) > 0 && len(b) > 0 && a[len(a)-1].to <= b[0].from { // the common case: a chain of accumulators
		if a[len(a)-1].to == b[0].from {
			a[len(a)-1].to = b[0].to
			b = b[1:]
		}
		return append(a, b...)
	}
	out := make([]span, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		var x span
		if len(b) == 0 || len(a) > 0 && a[0].from < b[0].from {
			x, a = a[0], a[1:]
		} else {
			x, b = b[0], b[1:]
		}
		if n := len(out); n > 0 && out[n-1].to == x.from {
			out[n-1].to = x.to
		} else {
			out = append(out, x)
		}
	}
	return out
}

// ties joins the register of a tied operand with its result: nothing else uses that register, so they never meet.
func (j *joiner) ties() {
	for i := range j.f.blocks {
		for k := range j.f.blocks[i].insts {
			m := &j.f.blocks[i].insts[k]
			for _, t := range m.ties {
				j.try(m.ops[t.def].reg, m.ops[t.use].reg)
			}
		}
	}
}

// phis joins phis with their arguments; arguments from loops' back edges come first, since a copy there costs most.
func (j *joiner) phis(back bool) {
	for i := range j.f.blocks {
		b := &j.f.blocks[i]
		for _, p := range b.phis {
			for k, a := range p.args {
				if isReg(a) && (b.preds[k] >= i) == back {
					j.try(p.dst, a.reg)
				}
			}
		}
	}
}

func (j *joiner) copies() {
	for i := range j.f.blocks {
		for k := range j.f.blocks[i].insts {
			if m := &j.f.blocks[i].insts[k]; m.copied {
				j.try(m.ops[0].reg, m.ops[1].reg)
			}
		}
	}
}

func (j *joiner) hints() {
	for _, h := range j.f.hints {
		j.try(h[0], h[1])
	}
}

func (j *joiner) flatten() []vreg {
	root := make([]vreg, len(j.parent))
	for r := range root {
		root[r] = j.find(vreg(r))
	}
	return root
}

// dropCopies removes movs of a register to itself.
func dropCopies(f *mfunc) {
	for i := range f.blocks {
		b := &f.blocks[i]
		kept := b.insts[:0]
		for _, m := range b.insts {
			if !m.copied || f.root[m.ops[0].reg] != f.root[m.ops[1].reg] {
				kept = append(kept, m)
			}
		}
		b.insts = kept
	}
}
