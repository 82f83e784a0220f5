package lower

import (
	"fmt"
	"slices"

	llir "github.com/llir/llvm/ir"
)

// State is what a loop carries from one round to the next, or what a branch decides: T is a struct of values, and Values lists where they
// stand in it, the same values in the same order for all states of a loop. A T with slices has a method Clone as well, so that no two
// states share them.
type State[T any] interface {
	*T
	Values() []*Value
}

// ValuesOf lists the values of a state.
func ValuesOf[T any, P State[T]](state T) []Value {
	var out []Value
	for _, v := range P(&state).Values() {
		out = append(out, *v)
	}
	return out
}

// Map is a state with the results of change in place of its values.
func Map[T any, P State[T]](state T, change func(v Value) Value) T {
	out := cloned(state)
	was := P(&state).Values()
	for i, v := range P(&out).Values() {
		if v == was[i] {
			panic(fmt.Sprintf("internal: a state of type %T has slices and no Clone", state))
		}
		*v = change(*v)
	}
	return out
}

// withValues is a state with values in place of its own.
func withValues[T any, P State[T]](state T, values []Value) T {
	return Map[T, P](state, func(Value) (v Value) {
		v, values = values[0], values[1:]
		return v
	})
}

// cloned is a state that shares no slices with another one.
func cloned[T any](state T) T {
	if c, ok := any(state).(interface{ Clone() T }); ok {
		return c.Clone()
	}
	return state
}

// Loop is a loop that is open.
type Loop[T any] struct {
	State T // as the body sees it
	phis  []*llir.InstPhi
	list  func(T) []Value
}

// Open opens a loop in the current block, which from enters with the state start.
func Open[T any, P State[T]](b *Builder, start T, from *llir.Block) *Loop[T] {
	l := &Loop[T]{list: ValuesOf[T, P]}
	l.State = Map[T, P](start, func(v Value) Value {
		p := b.Phi(v, from)
		l.phis = append(l.phis, p)
		return p
	})
	return l
}

// Close ends the loop's body: latch goes round again with the state next.
func (l *Loop[T]) Close(next T, latch *llir.Block) {
	for i, v := range l.list(next) {
		AddIncoming(l.phis[i], v, latch)
	}
}

// While emits a loop that runs body while cond holds of its state, and returns the state in which it does not. body returns the state of
// the next round.
func While[T any, P State[T]](b *Builder, name string, start T, cond func(T) Value, body func(T) T) T {
	from := b.Block
	head := b.NewBlock(name)
	from.NewBr(head)
	b.Enter(head)
	l := Open[T, P](b, start, from)
	more, check := cond(l.State), b.Block
	run := b.NewBlock(name + ".body")
	b.Enter(run)
	next := body(l.State)
	last := b.Block
	last.NewBr(head)
	end := b.NewBlock(name + ".end")
	check.NewCondBr(more, run, end)
	l.Close(next, last)
	b.Enter(end)
	return l.State
}

// Repeat emits a loop whose body runs at least once. body returns the next state and whether to run again; the last state is the result.
func Repeat[T any, P State[T]](b *Builder, name string, start T, body func(T) (next T, again Value)) T {
	from, loop := b.Block, b.NewBlock(name)
	from.NewBr(loop)
	b.Enter(loop)
	l := Open[T, P](b, start, from)
	next, again := body(l.State)
	latch, done := b.Block, b.NewBlock(name+".done")
	l.Close(next, latch)
	latch.NewCondBr(again, loop, done)
	b.Enter(done)
	return next
}

// Choose emits a block that runs when c holds, and returns the state that then leaves; otherwise is what it is without.
func Choose[T any, P State[T]](b *Builder, name string, c Value, otherwise T, then func() T) T {
	var made T
	out := b.ChooseAll(name, c, ValuesOf[T, P](otherwise), func() []Value {
		made = then()
		return ValuesOf[T, P](made)
	})
	return withValues[T, P](made, out)
}

// Join is the state after two blocks of which one ran: x if it was one, y if it was other.
func Join[T any, P State[T]](b *Builder, x T, one *llir.Block, y T, other *llir.Block) T {
	var out []Value
	values := ValuesOf[T, P](y)
	for i, v := range ValuesOf[T, P](x) {
		p := b.Phi(v, one)
		AddIncoming(p, values[i], other)
		out = append(out, p)
	}
	return withValues[T, P](x, out)
}

// One is a state of one value.
type One struct{ Value Value }

func (o *One) Values() []*Value { return []*Value{&o.Value} }

// While is the loop of one value.
func (b *Builder) While(name string, start Value, cond, body func(v Value) Value) Value {
	return While(b, name, One{start}, func(o One) Value { return cond(o.Value) }, func(o One) One { return One{body(o.Value)} }).Value
}

// Repeat is the loop of one value.
func (b *Builder) Repeat(name string, start Value, body func(v Value) (next, again Value)) Value {
	return Repeat(b, name, One{start}, func(o One) (One, Value) {
		next, again := body(o.Value)
		return One{next}, again
	}).Value
}

// Fold is the state of a loop that walks from At on and makes Made of what it meets.
type Fold struct{ At, Made Value }

func (f *Fold) Values() []*Value { return []*Value{&f.At, &f.Made} }

// Walk is the state of a loop that walks from At on and carries Of beside it.
type Walk[T any, P State[T]] struct {
	At Value
	Of T
}

func (w *Walk[T, P]) Values() []*Value { return append([]*Value{&w.At}, P(&w.Of).Values()...) }

func (w Walk[T, P]) Clone() Walk[T, P] { return Walk[T, P]{w.At, cloned(w.Of)} }

// Walking is a walk that begins at the value at.
func Walking[T any, P State[T]](at Value, of T) Walk[T, P] { return Walk[T, P]{at, of} }

// Vectors is a state of lists of values, such as the outputs of each row.
type Vectors [][]Value

func (l *Vectors) Values() []*Value { return Pointers(*l...) }

// Clone is l with slices of its own.
func (l Vectors) Clone() Vectors {
	l = slices.Clone(l)
	for i := range l {
		l[i] = slices.Clone(l[i])
	}
	return l
}

// Some leaves out the values that are nil: a state may have fields that one kind of kernel does not use.
func Some(values ...*Value) []*Value {
	return slices.DeleteFunc(values, func(v *Value) bool { return *v == nil })
}

// Pointers lists where the values of lists stand, for the method Values of a State.
func Pointers(lists ...[]Value) (out []*Value) {
	for _, l := range lists {
		for i := range l {
			out = append(out, &l[i])
		}
	}
	return out
}
