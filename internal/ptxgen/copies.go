package ptxgen

// move is one assignment of the parallel assignment on an edge; registers are roots.
type move struct {
	dst vreg
	src operand
}

// placePhiCopies turns phis into copies: at the end of a predecessor that goes nowhere else, at the start of a block
// that has no other predecessor, at the end of a loop that otherwise exits where the copies do no harm, or in a block of
// its own on the edge. Such a block is laid out behind the predecessor. in holds what is live into each block.
func placePhiCopies(f *mfunc, in []bitset) {
	type split struct{ pred, succ int }
	var splits []split
	extra := make(map[split][]minst)
	for i := range f.blocks {
		b := &f.blocks[i]
		for k, pred := range b.preds {
			moves := f.edgeMoves(b, k)
			code := f.sequence(moves)
			switch {
			case len(code) == 0:
			case len(f.blocks[pred].succs) == 1:
				f.blocks[pred].insts = append(f.blocks[pred].insts, code...)
			case len(b.preds) == 1:
				b.insts = append(code, b.insts...)
			case pred >= i && f.harmless(pred, i, moves, in):
				f.blocks[pred].insts = append(f.blocks[pred].insts, code...)
			default:
				splits = append(splits, split{pred, i})
				extra[split{pred, i}] = code
			}
		}
	}
	for i := range f.blocks {
		f.blocks[i].phis = nil
	}
	for _, s := range splits {
		f.splitEdge(s.pred, s.succ, extra[s])
	}
	f.order()
}

// harmless says whether moves for the edge from pred to succ may run at the end of pred whichever way it branches: what
// they write is neither the condition nor needed on the other way. It saves a branch in every turn of a loop.
func (f *mfunc) harmless(pred, succ int, moves []move, in []bitset) bool {
	written := make(map[vreg]bool, len(moves))
	for _, m := range moves {
		written[m.dst] = true
	}
	clash := written[f.root[f.blocks[pred].term.cond]]
	check := func(r vreg) { clash = clash || written[f.root[r]] }
	for _, s := range f.blocks[pred].succs {
		if s == succ {
			continue
		}
		in[s].each(check)
		for _, p := range f.blocks[s].phis {
			check(p.dst)
		}
		f.eachPhiArg(s, func(from int, r vreg) {
			if from == pred {
				check(r)
			}
		})
	}
	return !clash
}

// edgeMoves lists the assignments of the phis of b on the edge from its k-th predecessor, but for assignments that hold already.
func (f *mfunc) edgeMoves(b *mblock, k int) []move {
	var moves []move
	for _, p := range b.phis {
		dst, src := f.root[p.dst], p.args[k]
		if isReg(src) {
			src.reg = f.root[src.reg]
			if src.reg == dst {
				continue
			}
		}
		moves = append(moves, move{dst, src})
	}
	return moves
}

// sequence orders a parallel assignment: a move may go when nobody still waits for the old value of its target; a
// cycle is broken by saving one value in a fresh register. Constants go last, since they wait for nothing.
func (f *mfunc) sequence(moves []move) []minst {
	var code []minst
	var consts []move
	var todo []move
	for _, m := range moves {
		if isReg(m.src) {
			todo = append(todo, m)
		} else {
			consts = append(consts, m)
		}
	}
	for len(todo) > 0 {
		k := readyMove(todo)
		if k < 0 {
			saved := f.newReg(f.classes[todo[0].dst])
			f.root = append(f.root, saved)
			code = append(code, f.copyInst(saved, reg(todo[0].dst)))
			for i := range todo {
				if todo[i].src.reg == todo[0].dst {
					todo[i].src.reg = saved
				}
			}
			k = 0
		}
		code = append(code, f.copyInst(todo[k].dst, todo[k].src))
		todo = append(todo[:k], todo[k+1:]...)
	}
	for _, m := range consts {
		code = append(code, f.copyInst(m.dst, m.src))
	}
	return code
}

// readyMove returns a move whose target no other move still reads, or -1.
func readyMove(todo []move) int {
	for k, m := range todo {
		waits := false
		for i, other := range todo {
			waits = waits || i != k && other.src.reg == m.dst
		}
		if !waits {
			return k
		}
	}
	return -1
}

func (f *mfunc) copyInst(dst vreg, src operand) minst {
	c := f.classes[dst]
	t := movRows[c]
	if src.kind == opSym && c == classR {
		t = movSymbol
	}
	return minst{tmpl: t, ops: []operand{reg(dst), src}, ndef: 1, copied: isReg(src)}
}

// splitEdge puts a block with code between pred and succ.
func (f *mfunc) splitEdge(pred, succ int, code []minst) {
	k := len(f.blocks)
	label := f.blocks[pred].label + "_to_" + f.blocks[succ].label[1:]
	f.blocks = append(f.blocks, mblock{
		label: f.freeLabel(label), insts: code, after: pred + 1,
		term: mterm{kind: termBr, t: succ}, preds: []int{pred}, succs: []int{succ},
	})
	t := &f.blocks[pred].term
	if t.t == succ {
		t.t = k
	} else {
		t.f = k
	}
	replace(f.blocks[pred].succs, succ, k)
	replace(f.blocks[succ].preds, pred, k)
}

func replace(list []int, old, with int) {
	for i, x := range list {
		if x == old {
			list[i] = with
		}
	}
}

func (f *mfunc) freeLabel(label string) string {
	for i := range f.blocks {
		if f.blocks[i].label == label {
			return f.freeLabel(label + "_")
		}
	}
	return label
}

// order moves split blocks behind their predecessors and renumbers.
func (f *mfunc) order() {
	var layout []int
	behind := make(map[int][]int)
	for i := range f.blocks {
		if a := f.blocks[i].after; a > 0 {
			behind[a-1] = append(behind[a-1], i)
		}
	}
	if len(behind) == 0 {
		return
	}
	for i := range f.blocks {
		if f.blocks[i].after == 0 {
			layout = append(append(layout, i), behind[i]...)
		}
	}
	number := make([]int, len(layout))
	for at, i := range layout {
		number[i] = at
	}
	blocks := make([]mblock, len(layout))
	for at, i := range layout {
		b := f.blocks[i]
		b.term.t, b.term.f = number[b.term.t], number[b.term.f]
		renumber(b.preds, number)
		renumber(b.succs, number)
		blocks[at] = b
	}
	f.blocks = blocks
}

func renumber(list, number []int) {
	for i, x := range list {
		list[i] = number[x]
	}
}
