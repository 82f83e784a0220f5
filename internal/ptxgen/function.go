package ptxgen

import (
	"fmt"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/value"
)

// valueID numbers the parameters and instructions of a function; 0 is none.
type valueID int32

// valueInfo is what is known of one parameter or instruction.
type valueInfo struct {
	inst  ir.Instruction // nil for a parameter
	param *ir.Param
	block int32 // index in blocks; -1 for a parameter
	pos   int32 // place in its block
	uses  int32 // in reachable blocks
}

// function is a verified kernel with its control flow.
type function struct {
	ir     *ir.Func
	byval  map[*ir.Param]bool
	bounds []string
	blocks []*block // reachable ones, in the order of the IR
	ids    map[value.Value]valueID
	vals   []valueInfo // by valueID
	asms   map[*ir.InlineAsm]*asmForm
	rows   map[*ir.Func]*intrinsic // callees; llir works hard to tell a name
}

// block is a reachable basic block. Preds and succs are distinct, in order of first mention.
type block struct {
	ir    *ir.Block
	preds []int32
	succs []int32
	idom  int32 // immediate dominator; the entry's own index for the entry
	order int32 // place in reverse post-order
	first valueID
}

// verifyLabels holds that blocks can be told apart in the text: LLVM's own tools would take two of one name for one.
func (f *function) verifyLabels() error {
	names := map[string]bool{}
	for _, p := range f.ir.Params {
		if p != nil {
			names[p.Name()] = true
		}
	}
	for _, b := range f.ir.Blocks {
		if b == nil || b.IsUnnamed() {
			continue
		}
		if names[b.Name()] {
			return f.errorf(b, "its name is used twice")
		}
		names[b.Name()] = true
	}
	return nil
}

// control finds reachable blocks, edges and dominators.
func (f *function) control() error {
	if err := f.verifyLabels(); err != nil {
		return err
	}
	index := make(map[*ir.Block]int32, len(f.ir.Blocks))
	for i, b := range f.ir.Blocks {
		if b == nil || b.Term == nil {
			return f.errorf(b, "a block without terminator")
		}
		if _, twice := index[b]; twice {
			return f.errorf(b, "the block is listed twice")
		}
		index[b] = int32(i)
	}
	succs := make([][]int32, len(f.ir.Blocks))
	for i, b := range f.ir.Blocks {
		targets, err := branchTargets(b.Term)
		if err != nil {
			return f.errorf(b, "%v", err)
		}
		for _, t := range targets {
			k, known := index[t]
			switch {
			case !known:
				return f.errorf(b, "a branch to a block of another function")
			case k == 0:
				return f.errorf(b, "a branch to the entry block")
			}
			succs[i] = appendNew(succs[i], k)
		}
	}
	f.keepReachable(succs)
	f.dominators()
	return nil
}

// branchTargets returns the targets of a supported terminator.
func branchTargets(t ir.Terminator) ([]*ir.Block, error) {
	switch t := t.(type) {
	case *ir.TermRet:
		if t.X != nil {
			return nil, fmt.Errorf("a kernel returns void, not a value")
		}
		return nil, nil
	case *ir.TermUnreachable:
		return nil, nil
	case *ir.TermBr:
		return asBlocks(t.Target)
	case *ir.TermCondBr:
		return asBlocks(t.TargetTrue, t.TargetFalse)
	default:
		return nil, fmt.Errorf("unsupported terminator %s; use br, ret or unreachable", mnemonic(t))
	}
}

func asBlocks(vs ...value.Value) ([]*ir.Block, error) {
	blocks := make([]*ir.Block, len(vs))
	for i, v := range vs {
		b, ok := v.(*ir.Block)
		if !ok || b == nil {
			return nil, fmt.Errorf("a branch to something that is no block")
		}
		blocks[i] = b
	}
	return blocks, nil
}

func appendNew(list []int32, x int32) []int32 {
	for _, y := range list {
		if x == y {
			return list
		}
	}
	return append(list, x)
}

// keepReachable fills blocks with what the entry reaches; the rest is never emitted.
func (f *function) keepReachable(succs [][]int32) {
	post := postOrder(succs)
	number := make([]int32, len(succs))
	reached := make([]bool, len(succs))
	for _, b := range post {
		reached[b] = true
	}
	for i, b := range f.ir.Blocks {
		if reached[i] {
			number[i] = int32(len(f.blocks))
			f.blocks = append(f.blocks, &block{ir: b})
		}
	}
	for k, b := range post {
		f.blocks[number[b]].order = int32(len(post) - 1 - k)
	}
	for i := range succs {
		if !reached[i] {
			continue
		}
		for _, s := range succs[i] {
			from, to := number[i], number[s]
			f.blocks[from].succs = append(f.blocks[from].succs, to)
			f.blocks[to].preds = append(f.blocks[to].preds, from)
		}
	}
}

// postOrder walks from block 0 without recursion: a long chain of blocks must not exhaust the stack.
func postOrder(succs [][]int32) []int32 {
	type frame struct{ block, next int32 }
	seen := make([]bool, len(succs))
	var post []int32
	stack := []frame{{}}
	seen[0] = true
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if int(top.next) == len(succs[top.block]) {
			post = append(post, top.block)
			stack = stack[:len(stack)-1]
			continue
		}
		s := succs[top.block][top.next]
		top.next++
		if !seen[s] {
			seen[s] = true
			stack = append(stack, frame{block: s})
		}
	}
	return post
}

// dominators computes idom by the iteration of Cooper, Harvey and Kennedy.
func (f *function) dominators() {
	byOrder := make([]int32, len(f.blocks))
	for i, b := range f.blocks {
		byOrder[b.order] = int32(i)
		b.idom = -1
	}
	f.blocks[0].idom = 0
	for changed := true; changed; {
		changed = false
		for _, i := range byOrder[1:] {
			b := f.blocks[i]
			idom := int32(-1)
			for _, p := range b.preds {
				if f.blocks[p].idom < 0 {
					continue
				}
				if idom < 0 {
					idom = p
				} else {
					idom = f.meet(idom, p)
				}
			}
			if idom != b.idom {
				b.idom, changed = idom, true
			}
		}
	}
}

func (f *function) meet(a, b int32) int32 {
	for a != b {
		for f.blocks[a].order > f.blocks[b].order {
			a = f.blocks[a].idom
		}
		for f.blocks[b].order > f.blocks[a].order {
			b = f.blocks[b].idom
		}
	}
	return a
}

// dominates says whether block a dominates block b.
func (f *function) dominates(a, b int32) bool {
	for f.blocks[b].order > f.blocks[a].order {
		b = f.blocks[b].idom
	}
	return a == b
}

// number gives every parameter and instruction an id.
func (f *function) number() error {
	n := 1 + len(f.ir.Params)
	for _, b := range f.blocks {
		n += len(b.ir.Insts)
	}
	f.vals = append(make([]valueInfo, 0, n), valueInfo{})
	f.ids = make(map[value.Value]valueID, n)
	for _, p := range f.ir.Params {
		if p == nil {
			return f.errorf(nil, "a missing parameter")
		}
		f.ids[p] = valueID(len(f.vals))
		f.vals = append(f.vals, valueInfo{param: p, block: -1})
	}
	for i, b := range f.blocks {
		b.first = valueID(len(f.vals))
		for pos, inst := range b.ir.Insts {
			if inst == nil {
				return f.errorf(b.ir, "instruction %d is missing", pos)
			}
			if v, ok := inst.(value.Value); ok { // all but store and the unsupported fence
				if _, twice := f.ids[v]; twice {
					return f.errorf(b.ir, "instruction %d stands in the function twice", pos)
				}
				f.ids[v] = valueID(len(f.vals))
			}
			f.vals = append(f.vals, valueInfo{inst: inst, block: int32(i), pos: int32(pos)})
		}
	}
	return nil
}

// row returns the table's row of a callee, or nil.
func (f *function) row(callee *ir.Func) *intrinsic {
	r, seen := f.rows[callee]
	if !seen {
		r = intrinsics[callee.Name()]
		f.rows[callee] = r
	}
	return r
}

// id returns the number of a parameter or instruction; 0 for constants and globals.
func (f *function) id(v value.Value) valueID { return f.ids[v] }

func (f *function) errorf(b *ir.Block, format string, args ...any) error {
	where := fmt.Sprintf("function %q", f.ir.Name())
	if b != nil {
		where += fmt.Sprintf(", block %q", b.Name())
	}
	return fmt.Errorf("%s: "+format, append([]any{where}, args...)...)
}
