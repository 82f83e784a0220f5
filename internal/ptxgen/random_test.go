package ptxgen

import (
	"fmt"
	"math/rand"
	"strconv"
	"strings"
	"testing"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/campaign"
)

// The test of phis, copies and joined registers: random control flow with many phis and tied asm runs in an interpreter
// of the IR and, compiled, in an interpreter of the text. Both must store the same numbers.

// maxStores bounds a run: random loops may never end.
const maxStores = 200

func TestRandomPrograms(t *testing.T) {
	programs := campaign.Cases(120, 800, 1500)
	copies, splits := 0, 0
	for seed := range programs {
		m := randomModule(rand.New(rand.NewSource(int64(seed))))
		require.NoError(t, Verify(m), "seed %d\n%s", seed, m)
		out, err := Compile(m, Options{Target: "sm_80"})
		require.NoError(t, err)
		text := string(out)
		for _, arg := range []int32{0, 5, -17} {
			want := runIR(m.Funcs[0], arg)
			require.Equal(t, want, runPTX(t, text, arg), "seed %d, argument %d\n%s\n%s", seed, arg, m, text)
		}
		copies += strings.Count(text, "mov.b32 %r")
		splits += strings.Count(text, "_to_")
	}
	// The generator must reach the hard cases.
	require.Greater(t, copies, programs)
	require.Greater(t, splits, programs/4)
}

// generator makes one random kernel.
type generator struct {
	r      *rand.Rand
	f      *ir.Func
	fn     *function
	values [][]value.Value // i32 values by block, in order
}

func randomModule(r *rand.Rand) *ir.Module {
	m := ir.NewModule()
	ptr := &types.PointerType{ElemType: types.I32, AddrSpace: spaceGlobal}
	g := &generator{r: r, f: m.NewFunc("k", types.Void, ir.NewParam("p", ptr), ir.NewParam("n", types.I32))}
	addKernelNote(m, g.f)
	for i := range 3 + r.Intn(6) {
		g.f.NewBlock(fmt.Sprintf("b%d", i))
	}
	for _, b := range g.f.Blocks {
		g.branch(b)
	}
	g.fn = &function{ir: g.f}
	if err := g.fn.control(); err != nil {
		panic(err)
	}
	g.values = make([][]value.Value, len(g.fn.blocks))
	for i := range g.fn.blocks {
		g.phis(i)
	}
	for i := range g.fn.blocks {
		g.body(i)
	}
	for i := range g.fn.blocks {
		g.fillPhis(i)
	}
	return m
}

func addKernelNote(m *ir.Module, f *ir.Func) { addKernelNotes(m, f, "kernel", 1) }

// branch ends b: mostly two ways, into any block but the entry, so that edges are critical and loops overlap.
func (g *generator) branch(b *ir.Block) {
	pick := func() *ir.Block { return g.f.Blocks[1+g.r.Intn(len(g.f.Blocks)-1)] }
	switch k := g.r.Intn(8); {
	case k == 0:
		b.NewRet(nil)
	case k < 3:
		b.NewBr(pick())
	default:
		b.NewCondBr(constant.True, pick(), pick())
	}
}

func (g *generator) phis(i int) {
	b := g.fn.blocks[i]
	if len(b.preds) == 0 {
		return
	}
	for k := range g.r.Intn(5) {
		phi := &ir.InstPhi{Typ: types.I32}
		phi.SetName(fmt.Sprintf("phi%d_%d", i, k))
		b.ir.Insts = append(b.ir.Insts, phi)
		g.values[i] = append(g.values[i], phi)
	}
}

// pick returns a value that block i may use at its end (for phis of successors) or so far.
func (g *generator) pick(i int) value.Value {
	if g.r.Intn(8) == 0 {
		return constant.NewInt(types.I32, int64(g.r.Intn(20)-5))
	}
	b := int32(i)
	for b != 0 && (len(g.values[b]) == 0 || g.r.Intn(3) == 0) {
		b = g.fn.blocks[b].idom
	}
	if len(g.values[b]) == 0 {
		return g.f.Params[1]
	}
	return g.values[b][g.r.Intn(len(g.values[b]))]
}

func (g *generator) body(i int) {
	b := g.fn.blocks[i].ir
	for k := range 1 + g.r.Intn(5) {
		inst := g.inst(i)
		inst.(value.Named).SetName(fmt.Sprintf("v%d_%d", i, k))
		b.Insts = append(b.Insts, inst)
		g.values[i] = append(g.values[i], inst.(value.Value))
	}
	b.Insts = append(b.Insts, ir.NewStore(g.pick(i), g.f.Params[0]))
	if br, ok := b.Term.(*ir.TermCondBr); ok {
		cmp := ir.NewICmp(enum.IPred(g.r.Intn(10)), g.pick(i), g.pick(i))
		cmp.SetName(fmt.Sprintf("c%d", i))
		b.Insts = append(b.Insts, cmp)
		br.Cond = cmp
	}
}

func (g *generator) inst(i int) ir.Instruction {
	x, y := g.pick(i), g.pick(i)
	switch g.r.Intn(9) {
	case 0:
		return ir.NewSub(x, y)
	case 1:
		return ir.NewXor(x, y)
	case 2:
		return ir.NewMul(x, y)
	case 3:
		return g.asm("add.s32 $0, $1, $2;", "=r,0,r", x, y)
	case 4: // the result is written before the second operand is read
		return g.asm("add.s32 $0, $1, 7; xor.b32 $0, $0, $2;", "=r,r,r", x, y)
	case 5:
		return g.asm("add.s32 $0, $0, 7; xor.b32 $0, $0, $2;", "=r,0,r", x, y)
	default:
		return ir.NewAdd(x, y)
	}
}

func (g *generator) asm(text, constraints string, args ...value.Value) ir.Instruction {
	sig := types.NewPointer(types.NewFunc(types.I32, types.I32, types.I32))
	return ir.NewCall(ir.NewInlineAsm(sig, text, constraints), args...)
}

func (g *generator) fillPhis(i int) {
	b := g.fn.blocks[i]
	phis := 0
	for _, inst := range b.ir.Insts {
		if _, ok := inst.(*ir.InstPhi); ok {
			phis++
		}
	}
	for _, inst := range b.ir.Insts {
		phi, ok := inst.(*ir.InstPhi)
		if !ok {
			return
		}
		for _, p := range b.preds {
			pred := g.fn.blocks[p].ir
			x := g.pick(int(p))
			if g.fn.dominates(int32(i), p) && g.r.Intn(2) == 0 {
				x = g.values[i][g.r.Intn(phis)] // around a loop: exchanges and cycles
			}
			inc := ir.NewIncoming(x, pred)
			if br, ok := pred.Term.(*ir.TermCondBr); ok && br.TargetTrue == br.TargetFalse {
				phi.Incs = append(phi.Incs, inc)
			}
			phi.Incs = append(phi.Incs, inc)
		}
	}
}

// runIR interprets the kernel and returns what it stores.
func runIR(f *ir.Func, n int32) []int32 {
	env := map[value.Value]int32{f.Params[1]: n}
	get := func(v value.Value) int32 {
		if c, ok := v.(*constant.Int); ok {
			return int32(c.X.Int64())
		}
		return env[v]
	}
	var stores []int32
	var prev *ir.Block
	for b := f.Blocks[0]; ; {
		at := make(map[value.Value]int32)
		for _, inst := range b.Insts {
			if phi, ok := inst.(*ir.InstPhi); ok {
				at[phi] = get(incoming(phi, prev))
			}
		}
		for v, x := range at {
			env[v] = x
		}
		for _, inst := range b.Insts {
			switch i := inst.(type) {
			case *ir.InstPhi:
			case *ir.InstStore:
				if stores = append(stores, get(i.Src)); len(stores) == maxStores {
					return stores
				}
			default:
				env[inst.(value.Value)] = evalIR(i, get)
			}
		}
		prev = b
		switch t := b.Term.(type) {
		case *ir.TermRet:
			return stores
		case *ir.TermBr:
			b = t.Target.(*ir.Block)
		case *ir.TermCondBr:
			b = t.TargetFalse.(*ir.Block)
			if get(t.Cond) != 0 {
				b = t.TargetTrue.(*ir.Block)
			}
		}
	}
}

func evalIR(inst ir.Instruction, get func(value.Value) int32) int32 {
	switch i := inst.(type) {
	case *ir.InstAdd:
		return get(i.X) + get(i.Y)
	case *ir.InstSub:
		return get(i.X) - get(i.Y)
	case *ir.InstXor:
		return get(i.X) ^ get(i.Y)
	case *ir.InstMul:
		return get(i.X) * get(i.Y)
	case *ir.InstICmp:
		return compare(i.Pred, get(i.X), get(i.Y))
	case *ir.InstCall:
		x, y := get(i.Args[0]), get(i.Args[1])
		if strings.Contains(i.Callee.(*ir.InlineAsm).Asm, "xor") {
			return (x + 7) ^ y
		}
		return x + y
	}
	panic(fmt.Sprintf("no meaning for %T", inst))
}

func compare(p enum.IPred, x, y int32) int32 {
	r, ux, uy := false, uint32(x), uint32(y)
	switch p {
	case enum.IPredEQ:
		r = x == y
	case enum.IPredNE:
		r = x != y
	case enum.IPredSLT:
		r = x < y
	case enum.IPredSLE:
		r = x <= y
	case enum.IPredSGT:
		r = x > y
	case enum.IPredSGE:
		r = x >= y
	case enum.IPredULT:
		r = ux < uy
	case enum.IPredULE:
		r = ux <= uy
	case enum.IPredUGT:
		r = ux > uy
	case enum.IPredUGE:
		r = ux >= uy
	}
	if r {
		return 1
	}
	return 0
}

// ptxRun interprets the few instructions the random programs become. Registers never written read as an odd number,
// so that a lost definition shows.
type ptxRun struct {
	t      *testing.T
	regs   map[string]int32
	stores []int32
	n      int32
}

func runPTX(t *testing.T, text string, n int32) []int32 {
	run := &ptxRun{t: t, regs: make(map[string]int32), n: n}
	var lines []string
	labels := make(map[string]int)
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "$") && strings.HasSuffix(line, ":") {
			labels[strings.TrimSuffix(line, ":")] = len(lines)
			continue
		}
		for _, s := range strings.Split(line, ";") {
			if s = strings.TrimSpace(s); s != "" && !strings.HasPrefix(s, ".") {
				lines = append(lines, s)
			}
		}
	}
	for pc := 0; len(run.stores) < maxStores; {
		next, done := run.step(lines[pc], pc+1, labels)
		if done {
			break
		}
		pc = next
	}
	return run.stores
}

func (p *ptxRun) step(line string, next int, labels map[string]int) (int, bool) {
	f := strings.Fields(strings.ReplaceAll(line, ",", " "))
	if strings.HasPrefix(f[0], "@") {
		name := strings.TrimPrefix(f[0], "@")
		cond := p.get(strings.TrimPrefix(name, "!")) != 0
		if cond == strings.HasPrefix(name, "!") {
			return next, false
		}
		f = f[1:]
	}
	switch op := f[0]; {
	case op == "ret":
		return 0, true
	case strings.HasPrefix(op, "bra"):
		target, ok := labels[f[1]]
		require.True(p.t, ok, "no label %s", f[1])
		return target, false
	case op == "st.global.u32":
		p.stores = append(p.stores, p.get(f[2]))
	case op == "ld.param.u32":
		p.regs[f[1]] = p.n
	case strings.HasPrefix(op, "setp."):
		parts := strings.Split(op, ".")
		p.regs[f[1]] = compare(ptxPredicate(parts[1], parts[2]), p.get(f[2]), p.get(f[3]))
	default:
		p.compute(op, f)
	}
	return next, false
}

func ptxPredicate(name, typ string) enum.IPred {
	for pred, row := range intPredicates {
		if row.name == name && (row.unsigned == (typ[0] == 'u') || name == "eq" || name == "ne") {
			return pred
		}
	}
	return enum.IPredEQ
}

func (p *ptxRun) compute(op string, f []string) {
	switch op {
	case "add.s32":
		p.regs[f[1]] = p.get(f[2]) + p.get(f[3])
	case "sub.s32":
		p.regs[f[1]] = p.get(f[2]) - p.get(f[3])
	case "xor.b32":
		p.regs[f[1]] = p.get(f[2]) ^ p.get(f[3])
	case "mul.lo.s32":
		p.regs[f[1]] = p.get(f[2]) * p.get(f[3])
	case "mad.lo.s32":
		p.regs[f[1]] = p.get(f[2])*p.get(f[3]) + p.get(f[4])
	case "mov.b32", "mov.pred":
		p.regs[f[1]] = p.get(f[2])
	case "ld.param.u64", "cvta.to.global.u64", "//", "{", "}", ")":
	default:
		p.t.Fatalf("no meaning for %q", strings.Join(f, " "))
	}
}

func (p *ptxRun) get(name string) int32 {
	if x, err := strconv.ParseInt(name, 10, 64); err == nil {
		return int32(x)
	}
	x, ok := p.regs[name]
	require.True(p.t, ok, "%s is read before it is written", name)
	return x
}
