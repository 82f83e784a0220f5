package ptxgen

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/metadata"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// Verify proves what Compile relies on, and what llir does not check:
//
//   - every function is a listed intrinsic with its signature, or a kernel that returns void;
//   - every instruction is in the supported subset, with operand and result types that fit;
//   - inline asm has as many operands as constraints, of fitting types;
//   - blocks end in br, ret or unreachable; the entry has no predecessor;
//   - a phi has exactly one value for each predecessor; phis stand first;
//   - every use is dominated by its definition.
//
// A verified module compiles without panic. The first problem is returned, with function and block.
func Verify(m *ir.Module) error {
	_, err := analyse(m)
	return err
}

// module is a verified module.
type module struct {
	globals []*ir.Global
	kernels []*function
}

func analyse(m *ir.Module) (mod *module, err error) {
	if m == nil {
		return nil, fmt.Errorf("no module")
	}
	mod = &module{globals: m.Globals}
	for _, g := range m.Globals {
		if err := guarded("module", func() error { return verifyGlobal(g) }); err != nil {
			return nil, err
		}
	}
	var notes map[*ir.Func]*annotations
	if err := guarded("module", func() (err error) { notes, err = kernelAnnotations(m); return err }); err != nil {
		return nil, err
	}
	for _, f := range m.Funcs {
		var fn *function
		err := guarded(fmt.Sprintf("function %q", f.Name()), func() (err error) { fn, err = analyseFunc(f, notes[f]); return err })
		if err != nil {
			return nil, err
		}
		if fn != nil {
			mod.kernels = append(mod.kernels, fn)
		}
	}
	return mod, uniqueNames(mod)
}

// guarded turns a panic into an error: llir computes types on demand and panics on ill-typed operands, anywhere.
func guarded(where string, check func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: malformed module: %v", where, r)
		}
	}()
	return check()
}

func uniqueNames(mod *module) error {
	seen := make(map[string]bool)
	for _, g := range mod.globals {
		seen[g.Name()] = true
	}
	for _, fn := range mod.kernels {
		if seen[fn.ir.Name()] {
			return fn.errorf(nil, "the name is used twice")
		}
		seen[fn.ir.Name()] = true
	}
	return nil
}

// verifyGlobal accepts the one kind of variable kernels need: dynamic shared memory.
func verifyGlobal(g *ir.Global) error {
	arr, ok := g.ContentType.(*types.ArrayType)
	p, isPtr := g.Type().(*types.PointerType)
	switch {
	case !isPtr || p.AddrSpace != spaceShared:
		return fmt.Errorf("global %q is not in address space 3; only shared memory is supported", g.Name())
	case g.Init != nil || g.Linkage != enum.LinkageExternal && g.Linkage != enum.LinkageNone:
		return fmt.Errorf("global %q has an initial value or a linkage; want external without value", g.Name())
	case !ok || arr.Len != 0 || !arr.ElemType.Equal(types.I8):
		return fmt.Errorf("global %q has type %v; want [0 x i8], sized at launch", g.Name(), g.ContentType)
	case !isIdentifier(g.Name()):
		return fmt.Errorf("global %q: the name is no PTX identifier", g.Name())
	case !isAlign(uint64(g.Align), 0):
		return fmt.Errorf("global %q has alignment %d; want a power of two up to 1024", g.Name(), g.Align)
	}
	return nil
}

func isAlign(a, least uint64) bool {
	return a >= least && a <= 1024 && a&(a-1) == 0
}

// isIdentifier says whether PTX takes s as a name: a letter first, then letters, digits, _ and $.
func isIdentifier(s string) bool {
	for i := range len(s) {
		if !isIdentByte(s[i]) || i == 0 && (s[i] >= '0' && s[i] <= '9' || s[i] == '$') {
			return false
		}
	}
	return s != "" && s != "_"
}

func isIdentByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$'
}

// annotations are what !nvvm.annotations says of one function.
type annotations struct {
	kernel bool
	bounds []string
}

// annotationRows are the supported properties, with the directive they become.
var annotationRows = map[string]struct {
	directive string
	max       int64
}{
	"kernel":   {"", 1},
	"maxntidx": {".maxntid %d, 1, 1", 1024},
	"reqntidx": {".reqntid %d, 1, 1", 1024},
	"minctasm": {".minnctapersm %d", 32},
	"maxnreg":  {".maxnreg %d", 255},
}

func kernelAnnotations(m *ir.Module) (map[*ir.Func]*annotations, error) {
	notes := make(map[*ir.Func]*annotations)
	def := m.NamedMetadataDefs["nvvm.annotations"]
	if def == nil {
		return notes, nil
	}
	for _, node := range def.Nodes {
		tuple, ok := node.(*metadata.Tuple)
		if !ok || len(tuple.Fields)%2 == 0 {
			return nil, fmt.Errorf("nvvm.annotations: want tuples of a function, then names with numbers")
		}
		f, ok := unwrapField(tuple.Fields[0]).(*ir.Func)
		if !ok {
			return nil, fmt.Errorf("nvvm.annotations: the first field of a tuple is %v; want a function", tuple.Fields[0])
		}
		if notes[f] == nil {
			notes[f] = &annotations{}
		}
		for i := 1; i < len(tuple.Fields); i += 2 {
			if err := notes[f].add(tuple.Fields[i], tuple.Fields[i+1]); err != nil {
				return nil, fmt.Errorf("nvvm.annotations of %q: %w", f.Name(), err)
			}
		}
	}
	return notes, nil
}

func unwrapField(f metadata.Field) any {
	if v, ok := f.(*metadata.Value); ok {
		return v.Value
	}
	return f
}

func (a *annotations) add(name, val metadata.Field) error {
	key, ok := name.(*metadata.String)
	if !ok {
		return fmt.Errorf("%v stands where a name is wanted", name)
	}
	r, known := annotationRows[key.Value]
	if !known {
		return fmt.Errorf("unsupported property %q; want kernel, maxntidx, reqntidx, minctasm or maxnreg", key.Value)
	}
	n, ok := unwrapField(val).(*constant.Int)
	if !ok || !n.X.IsInt64() || n.X.Int64() < 1 || n.X.Int64() > r.max {
		return fmt.Errorf("property %q is %v; want 1 to %d", key.Value, val, r.max)
	}
	if key.Value == "kernel" {
		a.kernel = true
		return nil
	}
	a.bounds = append(a.bounds, fmt.Sprintf(r.directive, n.X.Int64()))
	return nil
}

// analyseFunc verifies f. It returns nil for a declaration.
func analyseFunc(f *ir.Func, notes *annotations) (*function, error) {
	fn := &function{ir: f, byval: make(map[*ir.Param]bool), asms: make(map[*ir.InlineAsm]*asmForm), rows: make(map[*ir.Func]*intrinsic)}
	if len(f.Blocks) == 0 {
		return nil, verifyDeclaration(fn)
	}
	if notes == nil || !notes.kernel {
		return nil, fn.errorf(nil, "no kernel in nvvm.annotations; only kernels may have a body")
	}
	fn.bounds = notes.bounds
	if !types.IsVoid(f.Sig.RetType) || f.Sig.Variadic {
		return nil, fn.errorf(nil, "a kernel returns void and has a fixed number of parameters")
	}
	if !isIdentifier(f.Name()) {
		return nil, fn.errorf(nil, "the name is no PTX identifier")
	}
	for _, step := range []func() error{fn.control, fn.number, fn.verifyParams, fn.verifyBody} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return fn, nil
}

func verifyDeclaration(fn *function) error {
	name := fn.ir.Name()
	row := intrinsics[name]
	if row == nil {
		return fn.errorf(nil, "unsupported function; only intrinsics of the table may be declared")
	}
	if err := row.check(fn.ir.Sig.RetType, fn.ir.Sig.Params); err != nil {
		return fn.errorf(nil, "%v", err)
	}
	return nil
}

// paramSpaceBytes is the parameter space of a kernel before PTX 8.1.
const paramSpaceBytes = 4352

func (f *function) verifyParams() error {
	names := make(map[string]bool)
	if len(f.ir.Params) != len(f.ir.Sig.Params) {
		return f.errorf(nil, "%d parameters, but %d in its type", len(f.ir.Params), len(f.ir.Sig.Params))
	}
	var total int64
	for i, p := range f.ir.Params {
		name := paramName(f.ir, i)
		if !isIdentifier(name) || names[name] {
			return f.errorf(nil, "parameter %d: %q is no PTX identifier or used twice", i, name)
		}
		names[name] = true
		size, err := f.verifyParam(p)
		if err != nil {
			return f.errorf(nil, "parameter %q: %v", p.Name(), err)
		}
		total += size
	}
	if total > paramSpaceBytes {
		return f.errorf(nil, "parameters of %d bytes; at most %d fit", total, paramSpaceBytes)
	}
	return nil
}

func (f *function) verifyParam(p *ir.Param) (int64, error) {
	ptr, isPtr := p.Typ.(*types.PointerType)
	_, byval := byvalType(p)
	switch {
	case byval:
		size := int64(0)
		if isPtr {
			size = sizeOf(ptr.ElemType)
		}
		if !isPtr || ptr.AddrSpace != spaceGeneric || size <= 0 || size > paramSpaceBytes {
			return 0, fmt.Errorf("byval type %v; want a pointer to an array of 1 to %d bytes", p.Typ, paramSpaceBytes)
		}
		if a := paramAlign(p); a > 128 || !isAlign(a, 1) {
			return 0, fmt.Errorf("alignment %d; want a power of two up to 128", a)
		}
		f.byval[p] = true
		return size, nil
	case isPtr && ptr.AddrSpace == spaceGlobal, p.Typ.Equal(types.I32), p.Typ.Equal(types.I64), p.Typ.Equal(types.Float):
		return sizeOf(p.Typ), nil
	}
	return 0, fmt.Errorf("unsupported type %v; want i32, i64, float, an addrspace(1) pointer or a byval array", p.Typ)
}

func byvalType(p *ir.Param) (types.Type, bool) {
	for _, a := range p.Attrs {
		if b, ok := a.(ir.Byval); ok {
			return b.Typ, true
		}
	}
	return nil, false
}

func paramAlign(p *ir.Param) uint64 {
	for _, a := range p.Attrs {
		if align, ok := a.(ir.Align); ok {
			return uint64(align)
		}
	}
	return 8
}

// paramName is the PTX name of parameter i: kernel_name, or kernel_param_i for a nameless one.
func paramName(f *ir.Func, i int) string {
	p := f.Params[i]
	if p.IsUnnamed() {
		return fmt.Sprintf("%s_param_%d", f.Name(), i)
	}
	return f.Name() + "_" + p.LocalName
}

// verifyBody checks every reachable instruction: operands first, then types.
func (f *function) verifyBody() error {
	for i, b := range f.blocks {
		for pos, inst := range b.ir.Insts {
			if err := f.verifyAt(int32(i), int32(pos), inst); err != nil {
				return f.errorf(b.ir, "%s: %v", describe(inst, pos), err)
			}
		}
		if err := f.verifyTerm(int32(i), b.ir); err != nil {
			return f.errorf(b.ir, "terminator: %v", err)
		}
	}
	return nil
}

func (f *function) verifyAt(b, pos int32, inst ir.Instruction) error {
	if phi, ok := inst.(*ir.InstPhi); ok {
		return f.verifyPhi(b, pos, phi)
	}
	ops := inst.Operands()
	if call, ok := inst.(*ir.InstCall); ok {
		ops = ops[1:]
		if call.Callee == nil {
			return fmt.Errorf("a call without callee")
		}
	}
	for _, op := range ops {
		if err := f.verifyUse(b, pos, *op); err != nil {
			return err
		}
	}
	return f.verifyTypes(inst)
}

func (f *function) verifyTerm(i int32, b *ir.Block) error {
	br, ok := b.Term.(*ir.TermCondBr)
	if !ok {
		return nil
	}
	if err := f.verifyUse(i, math.MaxInt32, br.Cond); err != nil {
		return err
	}
	if !sameType(br.Cond.Type(), types.I1) {
		return fmt.Errorf("br on a condition of type %v; want i1", br.Cond.Type())
	}
	return nil
}

// verifyUse checks that v may be used at place pos of block b, and counts the use.
func (f *function) verifyUse(b, pos int32, v value.Value) error {
	if a, ok := v.(*ir.Arg); ok && a != nil {
		v = a.Value
	}
	if v == nil {
		return fmt.Errorf("a missing operand")
	}
	if c, ok := v.(constant.Constant); ok {
		return verifyConstant(c)
	}
	id := f.id(v)
	if id == 0 {
		return fmt.Errorf("operand %s is not defined in a reachable block of this function", v.Ident())
	}
	info := &f.vals[id]
	info.uses++
	switch {
	case info.block < 0:
		return nil
	case info.block == b && info.pos < pos, info.block != b && f.dominates(info.block, b):
		return nil
	}
	return fmt.Errorf("operand %s is used before its definition", v.Ident())
}

// verifyConstant accepts scalars, null, undef, and addresses made of a global and constant offsets.
func verifyConstant(c constant.Constant) error {
	switch c := c.(type) {
	case *constant.Int:
		if c.X == nil || c.Typ == nil || c.X.BitLen() > int(c.Typ.BitSize) {
			return fmt.Errorf("a constant that does not fit its type %v", c.Typ)
		}
		return nil
	case *constant.Float:
		if c.Typ.Kind != types.FloatKindFloat || c.X == nil {
			return fmt.Errorf("a constant of type %v; only float is supported", c.Typ)
		}
		return nil
	case *constant.Undef, *constant.Poison, *constant.ZeroInitializer, *constant.Null:
		if len(partsOf(nil, c.Type())) == 0 {
			return fmt.Errorf("a constant of unsupported type %v", c.Type())
		}
		return nil
	}
	if _, _, ok := constAddress(c); !ok {
		return fmt.Errorf("unsupported constant %s", c.Ident())
	}
	return nil
}

// verifyPhi wants one equal-typed value for each edge, defined at the end of its predecessor.
func (f *function) verifyPhi(b, pos int32, phi *ir.InstPhi) error {
	if pos > 0 {
		if _, ok := f.blocks[b].ir.Insts[pos-1].(*ir.InstPhi); !ok {
			return fmt.Errorf("a phi behind another instruction")
		}
	}
	if len(phi.Incs) == 0 {
		return fmt.Errorf("a phi without values")
	}
	given := make(map[*ir.Block]value.Value, len(phi.Incs))
	for _, inc := range phi.Incs {
		if inc == nil || inc.X == nil {
			return fmt.Errorf("a phi with a missing value")
		}
		pred, ok := inc.Pred.(*ir.Block)
		if !ok || pred == nil {
			return fmt.Errorf("a phi with a missing predecessor")
		}
		// A branch with two equal targets gives two equal entries.
		if old, twice := given[pred]; twice && old != inc.X {
			return fmt.Errorf("two values for predecessor %q", pred.Name())
		}
		given[pred] = inc.X
	}
	return f.verifyIncoming(b, phi, given)
}

func (f *function) verifyIncoming(b int32, phi *ir.InstPhi, given map[*ir.Block]value.Value) error {
	if classOf(phi.Type()) == classNone {
		return fmt.Errorf("unsupported phi of type %v; want scalars", phi.Type())
	}
	preds := f.blocks[b].preds
	for _, p := range preds {
		x, ok := given[f.blocks[p].ir]
		if !ok {
			return fmt.Errorf("no value for predecessor %q", f.blocks[p].ir.Name())
		}
		if err := f.verifyUse(p, math.MaxInt32, x); err != nil {
			return fmt.Errorf("value for predecessor %q: %w", f.blocks[p].ir.Name(), err)
		}
		if !sameType(x.Type(), phi.Type()) {
			return fmt.Errorf("value of type %v for predecessor %q of a phi of type %v", x.Type(), f.blocks[p].ir.Name(), phi.Type())
		}
	}
	return f.onlyPredecessors(preds, phi)
}

// onlyPredecessors refuses values for blocks that do not branch here; blocks that are never reached may be named.
func (f *function) onlyPredecessors(preds []int32, phi *ir.InstPhi) error {
	for _, inc := range phi.Incs {
		pred := inc.Pred.(*ir.Block)
		if slices.ContainsFunc(preds, func(p int32) bool { return f.blocks[p].ir == pred }) {
			continue
		}
		if slices.ContainsFunc(f.blocks, func(b *block) bool { return b.ir == pred }) {
			return fmt.Errorf("a value for block %q, which is no predecessor", pred.Name())
		}
	}
	return nil
}

// mnemonic names an instruction or terminator as the IR does.
func mnemonic(x any) string {
	name := strings.TrimPrefix(fmt.Sprintf("%T", x), "*ir.")
	name = strings.TrimPrefix(strings.TrimPrefix(name, "Inst"), "Term")
	return strings.ToLower(name)
}

// describe names an instruction for messages, by its mnemonic and name or place.
func describe(inst ir.Instruction, pos int) string {
	if n, ok := inst.(value.Named); ok && n.Name() != "" {
		if l, ok := inst.(interface{ IsUnnamed() bool }); !ok || !l.IsUnnamed() {
			return fmt.Sprintf("%s %%%s", mnemonic(inst), n.Name())
		}
	}
	return fmt.Sprintf("%s (instruction %d)", mnemonic(inst), pos)
}
