package ptxgen

import (
	"fmt"
	"strings"

	"github.com/llir/llvm/ir/types"
)

// intrinsic is one supported intrinsic function.
//
// sig is results(parameters), a letter each: i i32, l i64, f float, h <2 x half>, p i1, v void, s a shared and g a
// global pointer (an address operand with its offset folded), n an i32 and b an i1 that must be constant.
// Several results are a struct, several results in angle brackets a vector.
type intrinsic struct {
	name string
	sig  string
	tmpl template
	// accum is the number of the operand from which the results continue, one by one: results and these operands
	// should share registers. 0 is none.
	accum int
	// effect keeps the call when nobody uses its result.
	effect bool

	result types.Type
	params []types.Type
}

// row makes a table entry; text names results and operands $0, $1, ... in the order of sig.
func row(name, sig, text string) intrinsic {
	return intrinsic{name: "llvm." + name, sig: sig, tmpl: tm(text)}
}

func accumulating(r intrinsic, first int) intrinsic { r.accum = first; return r }

var intrinsicRows = []intrinsic{
	row("nvvm.read.ptx.sreg.laneid", "i()", "mov.u32 $0, %laneid;"),
	row("nvvm.read.ptx.sreg.warpid", "i()", "mov.u32 $0, %warpid;"),

	row("nvvm.barrier0", "v()", "bar.sync 0;"),
	row("nvvm.bar.warp.sync", "v(I)", "bar.warp.sync $0;"),
	row("nvvm.membar.cta", "v()", "membar.cta;"),
	row("nvvm.membar.gl", "v()", "membar.gl;"),

	row("nvvm.ldmatrix.sync.aligned.m8n8.x1.b16.p3i8", "i(s)",
		"ldmatrix.sync.aligned.m8n8.x1.shared.b16 {$0}, [$1];"),
	row("nvvm.ldmatrix.sync.aligned.m8n8.x2.b16.p3i8", "ii(s)",
		"ldmatrix.sync.aligned.m8n8.x2.shared.b16 {$0, $1}, [$2];"),
	row("nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3i8", "iiii(s)",
		"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$0, $1, $2, $3}, [$4];"),
	row("nvvm.ldmatrix.sync.aligned.m8n8.x1.trans.b16.p3i8", "i(s)",
		"ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {$0}, [$1];"),
	row("nvvm.ldmatrix.sync.aligned.m8n8.x2.trans.b16.p3i8", "ii(s)",
		"ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {$0, $1}, [$2];"),
	row("nvvm.ldmatrix.sync.aligned.m8n8.x4.trans.b16.p3i8", "iiii(s)",
		"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {$0, $1, $2, $3}, [$4];"),

	// D, A, B, C of the 16x8x16 product.
	accumulating(row("nvvm.mma.m16n8k16.row.col.bf16", "ffff(iiiiiiffff)",
		"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"), 10),
	accumulating(row("nvvm.mma.m16n8k16.row.col.f32.f32", "ffff(hhhhhhffff)",
		"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"), 10),

	row("nvvm.cp.async.ca.shared.global.4", "v(sg)", "cp.async.ca.shared.global [$0], [$1], 4;"),
	row("nvvm.cp.async.ca.shared.global.8", "v(sg)", "cp.async.ca.shared.global [$0], [$1], 8;"),
	row("nvvm.cp.async.ca.shared.global.16", "v(sg)", "cp.async.ca.shared.global [$0], [$1], 16;"),
	row("nvvm.cp.async.cg.shared.global.16", "v(sg)", "cp.async.cg.shared.global [$0], [$1], 16;"),
	row("nvvm.cp.async.commit.group", "v()", "cp.async.commit_group;"),
	row("nvvm.cp.async.wait.group", "v(n)", "cp.async.wait_group $0;"),
	row("nvvm.cp.async.wait.all", "v()", "cp.async.wait_all;"),

	// The approximate reciprocal of a float has no intrinsic in LLVM 14: it is inline asm.
	row("nvvm.ex2.approx.ftz.f", "f(f)", "ex2.approx.ftz.f32 $0, $1;"),
	row("nvvm.lg2.approx.ftz.f", "f(f)", "lg2.approx.ftz.f32 $0, $1;"),
	row("maxnum.f32", "f(FF)", "max.f32 $0, $1, $2;"),
	row("minnum.f32", "f(FF)", "min.f32 $0, $1, $2;"),
	row("fma.f32", "f(FFF)", "fma.rn.f32 $0, $1, $2, $3;"),
	row("fabs.f32", "f(f)", "abs.f32 $0, $1;"),

	row("smin.i32", "i(II)", "min.s32 $0, $1, $2;"),
	row("smax.i32", "i(II)", "max.s32 $0, $1, $2;"),
	row("umin.i32", "i(II)", "min.u32 $0, $1, $2;"),
	row("umax.i32", "i(II)", "max.u32 $0, $1, $2;"),
	row("ctpop.i32", "i(i)", "popc.b32 $0, $1;"),
	row("ctlz.i32", "i(ib)", "clz.b32 $0, $1;"),
	row("cttz.i32", "i(ib)", "brev.b32 $0, $1;\nclz.b32 $0, $0;"),
	row("bitreverse.i32", "i(i)", "brev.b32 $0, $1;"),
	// The funnel: fshl(hi, lo, n) and fshr(hi, lo, n); PTX takes lo first.
	row("fshl.i32", "i(iiI)", "shf.l.wrap.b32 $0, $2, $1, $3;"),
	row("fshr.i32", "i(iiI)", "shf.r.wrap.b32 $0, $2, $1, $3;"),

	row("nvvm.vote.any.sync", "p(Ip)", "vote.sync.any.pred $0, $2, $1;"),
	row("nvvm.vote.all.sync", "p(Ip)", "vote.sync.all.pred $0, $2, $1;"),
	row("nvvm.vote.ballot.sync", "i(Ip)", "vote.sync.ballot.b32 $0, $2, $1;"),
}

// shfl operands in LLVM: mask, value, lane, clamp.
var shuffleModes = []string{"bfly", "idx", "up", "down"}

// ldg: a load through the read-only path. LLVM passes the alignment as second operand.
var ldgTypes = []struct{ suffix, sig, tmpl string }{
	{"i.i32.p1i32", "i(gn)", "ld.global.nc.u32 $0, [$1];"},
	{"i.i64.p1i64", "l(gn)", "ld.global.nc.u64 $0, [$1];"},
	{"f.f32.p1f32", "f(gn)", "ld.global.nc.f32 $0, [$1];"},
	{"i.v2i32.p1v2i32", "<ii>(gn)", "ld.global.nc.v2.u32 {$0, $1}, [$2];"},
	{"i.v4i32.p1v4i32", "<iiii>(gn)", "ld.global.nc.v4.u32 {$0, $1, $2, $3}, [$4];"},
	{"f.v2f32.p1v2f32", "<ff>(gn)", "ld.global.nc.v2.f32 {$0, $1}, [$2];"},
	{"f.v4f32.p1v4f32", "<ffff>(gn)", "ld.global.nc.v4.f32 {$0, $1, $2, $3}, [$4];"},
}

var intrinsics = buildIntrinsics()

func buildIntrinsics() map[string]*intrinsic {
	rows := append([]intrinsic(nil), intrinsicRows...)
	for _, sreg := range []string{"tid", "ctaid", "ntid", "nctaid"} {
		for _, dim := range []string{"x", "y", "z"} {
			rows = append(rows, row("nvvm.read.ptx.sreg."+sreg+"."+dim, "i()", "mov.u32 $0, %"+sreg+"."+dim+";"))
		}
	}
	for _, mode := range shuffleModes {
		text := "shfl.sync." + mode + ".b32 $0, $2, $3, $4, $1;"
		rows = append(rows, row("nvvm.shfl.sync."+mode+".i32", "i(IiII)", text), row("nvvm.shfl.sync."+mode+".f32", "f(IfII)", text))
	}
	for _, t := range ldgTypes {
		rows = append(rows, row("nvvm.ldg.global."+t.suffix, t.sig, t.tmpl))
	}
	table := make(map[string]*intrinsic, len(rows))
	for i := range rows {
		r := &rows[i]
		r.result, r.params = signature(r.sig)
		r.effect = types.IsVoid(r.result)
		table[r.name] = r
	}
	return table
}

var sigTypes = map[byte]types.Type{
	'i': types.I32, 'I': types.I32, 'n': types.I32, 'l': types.I64, 'f': types.Float, 'F': types.Float, 'p': types.I1, 'b': types.I1,
	'h': types.NewVector(2, types.Half),
	's': &types.PointerType{ElemType: types.I8, AddrSpace: spaceShared},
	'g': &types.PointerType{ElemType: types.I8, AddrSpace: spaceGlobal},
}

// signature reads a sig. The element type of a global pointer is not checked: ldg is overloaded on it.
func signature(sig string) (types.Type, []types.Type) {
	results, rest, _ := strings.Cut(sig, "(")
	var params []types.Type
	for _, c := range strings.TrimSuffix(rest, ")") {
		params = append(params, sigTypes[byte(c)])
	}
	letters := strings.Trim(results, "<>")
	switch {
	case results == "v":
		return types.Void, params
	case len(letters) == 1:
		return sigTypes[letters[0]], params
	case results != letters:
		return types.NewVector(uint64(len(letters)), sigTypes[letters[0]]), params
	}
	s := &types.StructType{}
	for _, c := range letters {
		s.Fields = append(s.Fields, sigTypes[byte(c)])
	}
	return s, params
}

// letter returns the parameter letter of operand i.
func (r *intrinsic) letter(i int) byte { return r.sig[strings.IndexByte(r.sig, '(')+1+i] }

// check compares a declaration or call with the row.
func (r *intrinsic) check(result types.Type, params []types.Type) error {
	if !sameType(r.result, result) {
		return fmt.Errorf("intrinsic %s returns %v, want %v", r.name, result, r.result)
	}
	if len(params) != len(r.params) {
		return fmt.Errorf("intrinsic %s has %d parameters, want %d", r.name, len(params), len(r.params))
	}
	for i, t := range params {
		if !fits(r.letter(i), t, r.params[i]) {
			return fmt.Errorf("parameter %d of intrinsic %s is %v, want %v", i, r.name, t, r.params[i])
		}
	}
	return nil
}

func fits(letter byte, got, want types.Type) bool {
	if p, ok := got.(*types.PointerType); ok && letter == 'g' {
		return p.AddrSpace == spaceGlobal
	}
	return sameType(want, got)
}
