package ptxgen

import (
	"fmt"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// verifyTypes checks operand and result types of one instruction whose operands are already known to be usable.
func (f *function) verifyTypes(inst ir.Instruction) error {
	if op, x, y, ok := asBinary(inst); ok {
		return verifyBinary(inst, op, x, y)
	}
	if op, from, to, ok := asCast(inst); ok {
		return verifyCast(inst, op, from, to)
	}
	switch i := inst.(type) {
	case *ir.InstICmp:
		return verifyICmp(i)
	case *ir.InstFCmp:
		return verifyFCmp(i)
	case *ir.InstSelect:
		return verifySelect(i)
	case *ir.InstFNeg:
		return wantTypes(types.Float, i.X.Type(), i.Type())
	case *ir.InstFreeze:
		if len(partsOf(nil, i.X.Type())) != 1 {
			return fmt.Errorf("unsupported type %v", i.X.Type())
		}
		return wantTypes(i.X.Type(), i.Type())
	case *ir.InstGetElementPtr:
		return verifyGEP(i)
	case *ir.InstLoad:
		return f.verifyLoad(i)
	case *ir.InstStore:
		return f.verifyStore(i)
	case *ir.InstExtractValue:
		return verifyExtractValue(i)
	case *ir.InstExtractElement:
		return verifyElement(i.X, i.Index, i.Type())
	case *ir.InstInsertElement:
		if err := verifyElement(i.X, i.Index, i.Elem.Type()); err != nil {
			return err
		}
		return wantTypes(i.X.Type(), i.Type())
	case *ir.InstCall:
		return f.verifyCall(i)
	default:
		return fmt.Errorf("unsupported instruction %s", mnemonic(inst))
	}
}

// wantTypes checks that all types are want.
func wantTypes(want types.Type, got ...types.Type) error {
	for _, t := range got {
		if !sameType(want, t) {
			return fmt.Errorf("type %v; want %v", t, want)
		}
	}
	return nil
}

func resultType(inst ir.Instruction) types.Type { return inst.(value.Value).Type() }

func verifyBinary(inst ir.Instruction, op binaryOp, x, y value.Value) error {
	t := x.Type()
	if c := classOf(t); binaryRows[op][c] == "" || c != classF && !types.IsInt(t) {
		return fmt.Errorf("unsupported on type %v", t)
	}
	return wantTypes(t, y.Type(), resultType(inst))
}

func verifyCast(inst ir.Instruction, op castOp, from value.Value, to types.Type) error {
	if castTemplate(op, from.Type(), to) == "" {
		return fmt.Errorf("unsupported from %v to %v", from.Type(), to)
	}
	return wantTypes(to, resultType(inst))
}

func verifyICmp(i *ir.InstICmp) error {
	t := i.X.Type()
	p, isPtr := t.(*types.PointerType)
	if icmpRows[icmpKey{i.Pred, classOf(t)}] == "" || !types.IsInt(t) && !isPtr || isPtr && p.AddrSpace == spaceGeneric {
		return fmt.Errorf("unsupported %v on type %v", i.Pred, t)
	}
	if err := wantTypes(t, i.Y.Type()); err != nil {
		return err
	}
	return wantTypes(types.I1, i.Type())
}

func verifyFCmp(i *ir.InstFCmp) error {
	if fcmpRows[i.Pred] == "" {
		return fmt.Errorf("unsupported predicate %v", i.Pred)
	}
	if err := wantTypes(types.Float, i.X.Type(), i.Y.Type()); err != nil {
		return err
	}
	return wantTypes(types.I1, i.Type())
}

func verifySelect(i *ir.InstSelect) error {
	if err := wantTypes(types.I1, i.Cond.Type()); err != nil {
		return err
	}
	t := i.ValueTrue.Type()
	if classOf(t) == classNone {
		return fmt.Errorf("unsupported on type %v", t)
	}
	return wantTypes(t, i.ValueFalse.Type(), i.Type())
}

func verifyGEP(i *ir.InstGetElementPtr) error {
	src, ok := i.Src.Type().(*types.PointerType)
	if !ok || classOf(src) == classNone {
		return fmt.Errorf("unsupported on type %v", i.Src.Type())
	}
	if len(i.Indices) != 1 || !sameType(src.ElemType, i.ElemType) {
		return fmt.Errorf("unsupported form; want one index and the pointer's own element type")
	}
	if c := classOf(i.Indices[0].Type()); c != classR && c != classD || !types.IsInt(i.Indices[0].Type()) {
		return fmt.Errorf("index of type %v; want i32 or i64", i.Indices[0].Type())
	}
	if sizeOf(i.ElemType) <= 0 || sizeOf(i.ElemType) > 1<<20 {
		return fmt.Errorf("unsupported element type %v", i.ElemType)
	}
	return wantTypes(src, i.Type())
}

// verifyAccess checks a load or store of type t through ptr, and its alignment.
func (f *function) verifyAccess(t types.Type, ptr value.Value, align ir.Align, atomic bool) (types.AddrSpace, error) {
	p, ok := ptr.Type().(*types.PointerType)
	if !ok || !sameType(p.ElemType, t) {
		return 0, fmt.Errorf("a %v through a pointer of type %v", t, ptr.Type())
	}
	if atomic {
		return 0, fmt.Errorf("atomic access is unsupported")
	}
	c := classOf(t)
	if v, _ := vectorOf(t); v != classNone {
		c = v
	}
	if memoryTypes[c] == "" {
		return 0, fmt.Errorf("unsupported type %v", t)
	}
	if _, ok := spaceNames[p.AddrSpace]; !ok {
		return 0, fmt.Errorf("unsupported address space %d; want 1 (global) or 3 (shared)", p.AddrSpace)
	}
	if size := uint64(sizeOf(t)); align != 0 && (uint64(align) < size || uint64(align)&(uint64(align)-1) != 0) {
		return 0, fmt.Errorf("align %d; a %v wants at least %d", align, t, size)
	}
	return p.AddrSpace, nil
}

func (f *function) verifyLoad(i *ir.InstLoad) error {
	space, err := f.verifyAccess(i.ElemType, i.Src, i.Align, i.Atomic)
	if err != nil {
		return err
	}
	if space == spaceGeneric && f.byvalRoot(i.Src) == nil {
		return fmt.Errorf("a generic address that is no byval parameter; want address space 1 or 3")
	}
	return nil
}

func (f *function) verifyStore(i *ir.InstStore) error {
	space, err := f.verifyAccess(i.Src.Type(), i.Dst, i.Align, i.Atomic)
	if err == nil && space == spaceGeneric {
		err = fmt.Errorf("a store to a generic address; want address space 1 or 3")
	}
	return err
}

// byvalRoot returns the byval parameter whose address v is a constant distance away from, or nil.
func (f *function) byvalRoot(v value.Value) *ir.Param {
	for {
		switch x := v.(type) {
		case *ir.Param:
			if f.byval[x] {
				return x
			}
			return nil
		case *ir.InstGetElementPtr:
			v = x.Src
		case *ir.InstBitCast:
			v = x.From
		default:
			return nil
		}
	}
}

func verifyExtractValue(i *ir.InstExtractValue) error {
	var room [16]class
	s, ok := i.X.Type().(*types.StructType)
	if !ok || len(partsOf(room[:0], s)) != len(s.Fields) || len(i.Indices) != 1 || i.Indices[0] >= uint64(len(s.Fields)) {
		return fmt.Errorf("unsupported; want one index into a struct of scalars")
	}
	if _, isConst := i.X.(constant.Constant); isConst {
		return fmt.Errorf("unsupported on a constant")
	}
	return wantTypes(s.Fields[i.Indices[0]], i.Type())
}

// verifyElement checks an access to an element of a vector at a constant index.
func verifyElement(vec, index value.Value, elem types.Type) error {
	v, ok := vec.Type().(*types.VectorType)
	if _, n := vectorOf(vec.Type()); !ok || n == 0 {
		return fmt.Errorf("unsupported on type %v", vec.Type())
	}
	k, isInt := index.(*constant.Int)
	if !isInt || !k.X.IsUint64() || k.X.Uint64() >= v.Len {
		return fmt.Errorf("want a constant index below %d", v.Len)
	}
	return wantTypes(v.ElemType, elem)
}

func (f *function) verifyCall(i *ir.InstCall) error {
	if len(i.OperandBundles) > 0 {
		return fmt.Errorf("operand bundles are unsupported")
	}
	switch callee := i.Callee.(type) {
	case *ir.InlineAsm:
		return f.verifyAsm(i, callee)
	case *ir.Func:
		return f.verifyIntrinsicCall(i, callee)
	default:
		return fmt.Errorf("unsupported callee %s; want an intrinsic or inline asm", i.Callee.Ident())
	}
}

func (f *function) verifyAsm(i *ir.InstCall, a *ir.InlineAsm) error {
	form, seen := f.asms[a]
	if !seen {
		var err error
		if form, err = parseAsm(a); err != nil {
			return err
		}
		f.asms[a] = form
	}
	result := i.Type()
	if sig, ok := result.(*types.FuncType); ok {
		return fmt.Errorf("asm call has the type %v instead of its result", sig)
	}
	if len(partsOf(nil, result)) == 0 && !types.IsVoid(result) {
		return fmt.Errorf("unsupported asm result of type %v", result)
	}
	if v, _ := vectorOf(result); v != classNone {
		return fmt.Errorf("asm result of vector type %v; want a scalar or a struct", result)
	}
	return form.check(i, result)
}

func (f *function) verifyIntrinsicCall(i *ir.InstCall, callee *ir.Func) error {
	row := f.row(callee)
	if row == nil {
		return fmt.Errorf("unsupported function %q; only intrinsics of the table may be called", callee.Name())
	}
	args := make([]types.Type, len(i.Args))
	for k, a := range i.Args {
		args[k] = a.Type()
	}
	if err := row.check(i.Type(), args); err != nil {
		return err
	}
	for k, a := range i.Args {
		if l := row.letter(k); l != 'n' && l != 'b' {
			continue
		}
		if _, ok := unwrapArg(a).(*constant.Int); !ok {
			return fmt.Errorf("operand %d of %s wants an integer constant", k, row.name)
		}
	}
	return nil
}

// constAddress reads a constant address: a global, or global or null with constant offsets, casts between pointers and
// integers of the pointer's width.
func constAddress(c constant.Constant) (sym string, off int64, ok bool) {
	switch c := c.(type) {
	case *ir.Global:
		return c.Name(), 0, c.Linkage == enum.LinkageExternal || c.Linkage == enum.LinkageNone
	case *constant.ExprPtrToInt:
		return constCast(c.From, c.From.Type(), c.To)
	case *constant.ExprBitCast:
		return constCast(c.From, c.From.Type(), c.To)
	case *constant.ExprGetElementPtr:
		return constGEP(c)
	}
	return "", 0, false
}

func constCast(from constant.Constant, a, b types.Type) (string, int64, bool) {
	if classOf(a) != classOf(b) || classOf(a) != classR {
		return "", 0, false
	}
	return constAddress(from)
}

// constGEP accepts one index, or a leading zero and an index into an array.
func constGEP(c *constant.ExprGetElementPtr) (string, int64, bool) {
	sym, off, ok := constAddress(c.Src)
	if !ok || len(c.Indices) == 0 || len(c.Indices) > 2 {
		return "", 0, false
	}
	t := c.ElemType
	for k, index := range c.Indices {
		if in, wrapped := index.(*constant.Index); wrapped {
			index = in.Constant
		}
		n, isInt := index.(*constant.Int)
		if !isInt || !n.X.IsInt64() {
			return "", 0, false
		}
		if k == 1 {
			arr, isArray := t.(*types.ArrayType)
			if !isArray {
				return "", 0, false
			}
			t = arr.ElemType
		}
		x := n.X.Int64()
		if x != 0 && sizeOf(t) <= 0 || x > 1<<28 || x < -1<<28 {
			return "", 0, false
		}
		off += x * sizeOf(t)
	}
	return sym, off, isOffset(off)
}

// isOffset says whether an offset fits the immediate of an address.
func isOffset(off int64) bool { return off >= -1<<31 && off < 1<<31 }
