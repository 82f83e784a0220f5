package lower

import (
	llir "github.com/llir/llvm/ir"
)

// Branches and joins. loop.go has the loops.

// Br ends the current block.
func (b *Builder) Br(to *llir.Block) { b.Block.NewBr(to) }

// CondBr ends the current block.
func (b *Builder) CondBr(c Value, yes, no *llir.Block) { b.Block.NewCondBr(c, yes, no) }

// Phi starts a phi in the current block with its first incoming value.
func (b *Builder) Phi(x Value, from *llir.Block) *llir.InstPhi {
	return b.Block.NewPhi(llir.NewIncoming(x, from))
}

// AddIncoming completes a phi.
func AddIncoming(p *llir.InstPhi, x Value, from *llir.Block) {
	p.Incs = append(p.Incs, llir.NewIncoming(x, from))
}

// If emits a block that runs when c holds.
func (b *Builder) If(name string, c Value, then func()) {
	b.ChooseAll(name, c, nil, func() []Value {
		then()
		return nil
	})
}

// Choose is If with a value: what then returns, or otherwise.
func (b *Builder) Choose(name string, c, otherwise Value, then func() Value) Value {
	return b.ChooseAll(name, c, []Value{otherwise}, func() []Value { return []Value{then()} })[0]
}

// ChooseAll is Choose for a list of values. loop.go has Choose for states.
func (b *Builder) ChooseAll(name string, c Value, otherwise []Value, then func() []Value) []Value {
	from := b.Block
	yes := b.NewBlock(name)
	// The join block is appended after whatever then appends, so that the text reads top down.
	b.Enter(yes)
	vals := then()
	last := b.Block
	join := b.NewBlock(name + ".end")
	last.NewBr(join)
	from.NewCondBr(c, yes, join)
	b.Enter(join)
	out := make([]Value, len(otherwise))
	for i := range otherwise {
		phi := b.Phi(vals[i], last)
		AddIncoming(phi, otherwise[i], from)
		out[i] = phi
	}
	return out
}

// IfElse emits two blocks, of which one runs, and returns what ends each, for Join.
func (b *Builder) IfElse(name string, c Value, then, otherwise func()) (one, other *llir.Block) {
	from := b.Block
	yes := b.NewBlock(name + ".yes")
	b.Enter(yes)
	then()
	lastYes := b.Block
	no := b.NewBlock(name + ".no")
	b.Enter(no)
	otherwise()
	lastNo := b.Block
	join := b.NewBlock(name + ".end")
	lastYes.NewBr(join)
	lastNo.NewBr(join)
	from.NewCondBr(c, yes, no)
	b.Enter(join)
	return lastYes, lastNo
}

// LeaveUnless ends the block unless stays holds, which all threads must agree on; last, if any, is what it does before.
func (b *Builder) LeaveUnless(stays Value, last func()) {
	from, leave := b.Block, b.NewBlock("leave")
	b.Enter(leave)
	if last != nil {
		last()
	}
	b.Block.NewRet(nil)
	stay := b.NewBlock("stay")
	from.NewCondBr(stays, stay, leave)
	b.Enter(stay)
}
