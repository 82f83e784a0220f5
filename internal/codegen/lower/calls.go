package lower

import (
	llir "github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/types"
)

// Intrinsics and inline assembly.

// Call calls the intrinsic of that name, declaring it at its first use.
func (b *Builder) Call(name string, ret types.Type, args ...Value) Value {
	f := b.intrinsics[name]
	if f == nil {
		var ps []*llir.Param
		for _, a := range args {
			ps = append(ps, llir.NewParam("", a.Type()))
		}
		f = b.Module.NewFunc(name, ret, ps...)
		b.intrinsics[name] = f
	}
	return b.Block.NewCall(f, args...)
}

// Asm emits inline assembly without side effects; operands are $0 (result) and up.
func (b *Builder) Asm(ret types.Type, text, constraints string, args ...Value) Value {
	return b.Block.NewCall(b.inlineAsm(ret, text, constraints, args), args...)
}

// AsmEffect emits inline assembly that must keep its place.
func (b *Builder) AsmEffect(text, constraints string, args ...Value) {
	b.AsmResult(types.Void, text, constraints, args...)
}

// AsmResult emits inline assembly with a result that must keep its place.
func (b *Builder) AsmResult(ret types.Type, text, constraints string, args ...Value) Value {
	a := b.inlineAsm(ret, text, constraints, args)
	a.SideEffect = true
	return b.Block.NewCall(a, args...)
}

func (b *Builder) inlineAsm(ret types.Type, text, constraints string, args []Value) *llir.InlineAsm {
	var ts []types.Type
	for _, a := range args {
		ts = append(ts, a.Type())
	}
	return llir.NewInlineAsm(types.NewPointer(types.NewFunc(ret, ts...)), text, constraints)
}

// Field is the i-th member of a struct result.
func (b *Builder) Field(x Value, i uint64) Value { return b.Block.NewExtractValue(x, i) }

// Fields splits a struct of n members.
func (b *Builder) Fields(x Value, n int) []Value {
	out := make([]Value, n)
	for i := range out {
		out[i] = b.Field(x, uint64(i))
	}
	return out
}
