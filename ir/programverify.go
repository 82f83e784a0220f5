package ir

import (
	"fmt"
	"slices"
	"strings"
)

// launchNumbers are the integers that every launch has; see Program.
var launchNumbers = strings.Fields("batch q_heads kv_heads group sq sk q_offset least_reach head_dim present sharers multiprocessors scratch_bytes taken " +
	"ragged total_q total_k span_cap key_cap " +
	"q_batch q_head q_row k_batch k_head k_row v_batch v_head v_row o_batch o_head o_row lse_batch lse_head")

// launchFloats are the floats that every launch has.
var launchFloats = strings.Fields("scale_log2 skip_log2 price_fixed price_limit price_slot price_column")

// launchAddresses are the addresses that every launch has, beside the program's buffers.
var launchAddresses = append(slices.Clone(tensorNames), "heads", "groups", "route")

// Verify checks a program of a schedule with these parameters against the kernels that it runs:
//
//   - every name is defined once and before its use
//   - every parameter of a kernel has an argument of its type, and every argument a parameter
//   - no buffer is read before it is written
//   - buffers of one extent are not in use at the same time
//
// That no buffer is smaller than its reader asks depends on the call: BoundProgram.Part says so.
func (p *Program) Verify(params []Param, kernels Kernels) error {
	v := &programVerifier{Program: p, kernels: kernels, known: map[string]bool{}, uses: map[string]*use{}}
	for _, name := range launchNumbers {
		v.known[name] = true
	}
	for _, q := range params {
		v.known[ParamName(q.Name)] = true
	}
	v.head()
	for i, part := range p.Parts {
		if at := slices.Index(PartNames, part.Name); at < 0 || i > 0 && at <= slices.Index(PartNames, p.Parts[i-1].Name) {
			v.fail("part %s stands where it cannot, want some of %s in this order", part.Name, strings.Join(PartNames, ", "))
		}
		v.where = "part " + part.Name
		v.steps(part.Steps, v.known)
	}
	v.where = ""
	v.extents()
	if v.err != nil {
		return fmt.Errorf("program %s: %w", p.Name, v.err)
	}
	return nil
}

// use is when a buffer is in use, in steps.
type use struct{ first, last int }

// programVerifier keeps the first error.
type programVerifier struct {
	*Program
	kernels Kernels
	known   map[string]bool
	uses    map[string]*use
	step    int
	where   string
	err     error
}

func (v *programVerifier) fail(format string, args ...any) {
	if v.err != nil {
		return
	}
	v.err = fmt.Errorf(format, args...)
	if v.where != "" {
		v.err = fmt.Errorf("%s: %w", v.where, v.err)
	}
}

// head checks what stands before the parts.
func (v *programVerifier) head() {
	for _, x := range v.Variants {
		v.defined(x.For, v.known)
		if len(x.Of) == 0 || !slices.IsSorted(x.Of) {
			v.fail("variant %s comes in %v, want ascending numbers", x.Name, x.Of)
		}
		v.define(x.Name, v.known)
	}
	for _, x := range v.Values {
		v.defined(x.Expr, v.known)
		v.define(x.Name, v.known)
	}
	for _, l := range v.Limits {
		v.defined(l.Value, v.known)
	}
	for _, w := range v.Work {
		v.defined(w.Amount, v.known)
	}
	seen := map[string]Buffer{}
	for _, x := range v.Buffers {
		if _, twice := seen[x.Name]; twice || slices.Contains(launchAddresses, x.Name) {
			v.fail("two buffers or tensors are called %s", x.Name)
		}
		if elementBytes[x.Type] == 0 {
			v.fail("buffer %s has elements of type %s, want i32, u32, f32 or elem", x.Name, x.Type)
		}
		if under, there := seen[x.Over]; x.Over != "" && (!there || under.Over != "" || under.Passing != x.Passing) {
			v.fail("buffer %s lies over %q, want an earlier buffer of its kind with an extent of its own", x.Name, x.Over)
		}
		for _, e := range x.Shape {
			v.defined(e, v.known)
		}
		seen[x.Name] = x
	}
}

func (v *programVerifier) define(name string, known map[string]bool) {
	if known[name] {
		v.fail("%s is defined twice", name)
	}
	if !isName(name) {
		v.fail("%q is no name", name)
	}
	known[name] = true
}

func (v *programVerifier) defined(e Expr, known map[string]bool) {
	e.Names(func(name string) {
		if !known[name] {
			v.fail("%s is not defined where %s uses it", name, e)
		}
	})
}

// steps checks steps in the order in which they run; known is what is defined before them, and after.
func (v *programVerifier) steps(steps []Step, known map[string]bool) {
	inner := map[string]bool{}
	for name := range known {
		inner[name] = true
	}
	for _, s := range steps {
		v.step++
		switch s := s.(type) {
		case Let:
			v.defined(s.Expr, inner)
			v.define(s.Name, inner)
		case For:
			v.loop(s, inner)
		case Heads:
			v.defined(s.First, inner)
			v.defined(s.N, inner)
		case Zero:
			v.writes(s.Buffer)
		case Store:
			for _, r := range s.Rows {
				v.defined(r.Expr, inner)
			}
			v.stores(s.Kernel)
			v.writes(s.Buffer)
		case Run:
			v.run(s, inner)
		default:
			v.fail("unknown step %T", s)
		}
	}
}

// stores checks a kernel that takes an address and two words in every other parameter.
func (v *programVerifier) stores(kernel string) {
	params, there := v.kernels(kernel)
	if !there {
		v.fail("there is no kernel %s", kernel)
		return
	}
	for i, p := range params {
		want := "i64"
		if i == 0 {
			want = "ptr"
		}
		if p.Type != want {
			v.fail("parameter %s of %s is of type %s, want %s: it stores words", p.Name, kernel, p.Type, want)
		}
	}
	if len(params) < 2 {
		v.fail("%s takes no words to store", kernel)
	}
}

// loop checks a loop. A buffer that is used in a loop is in use from its first step to its last one.
func (v *programVerifier) loop(s For, known map[string]bool) {
	v.defined(s.End, known)
	v.defined(s.By, known)
	inner := map[string]bool{}
	for name := range known {
		inner[name] = true
	}
	v.define(s.Var, inner)
	start := v.step
	v.steps(s.Steps, inner)
	for _, u := range v.uses {
		if u.last > start {
			u.first, u.last = min(u.first, start), v.step
		}
	}
}

// run checks a launch.
func (v *programVerifier) run(s Run, known map[string]bool) {
	for _, e := range s.Grid {
		v.defined(e, known)
	}
	if s.Threads != nil {
		v.defined(*s.Threads, known)
	}
	if s.Variant != "" && !slices.ContainsFunc(v.Variants, func(x Variant) bool { return x.Name == s.Variant }) {
		v.fail("%s comes in the variant %s, which is not defined", s.Kernel, s.Variant)
		return
	}
	names := v.sizesOf(s)
	found := false
	for _, name := range names {
		if params, there := v.kernels(name); there {
			found = true
			v.arguments(name, s, params, known)
		}
	}
	if !found {
		v.fail("there is no kernel %s", strings.Join(names, " or "))
	}
}

// arguments checks the arguments of a kernel: what it reads first, then what it writes.
func (v *programVerifier) arguments(kernel string, s Run, params []KernelParam, known map[string]bool) {
	for i, a := range s.Args {
		if slices.ContainsFunc(s.Args[:i], func(b Arg) bool { return b.Param == a.Param }) {
			v.fail("%s is given two arguments %s", kernel, a.Param)
		}
		if !slices.ContainsFunc(params, func(p KernelParam) bool { return p.Name == a.Param }) {
			v.fail("%s has no parameter %s", kernel, a.Param)
		}
	}
	for _, p := range params {
		v.argument(kernel, s.arg(p), p, known)
	}
	for _, p := range params {
		if a := s.arg(p); p.Type == "ptr" && a.Kind == ArgAddress && p.Writes != nil {
			v.writes(a.Of)
		}
	}
}

func (v *programVerifier) argument(kernel string, a Arg, p KernelParam, known map[string]bool) {
	kind, isNumber := argKinds[p.Type]
	switch {
	case p.Type == MapType:
		if _, isBuffer := v.Buffer(p.Tensor); isBuffer {
			v.reads(p.Tensor)
		} else if !slices.Contains(tensorNames, p.Tensor) {
			v.fail("%s maps %s, which is neither a tensor nor a buffer", kernel, p.Tensor)
		}
		return
	case !isNumber:
		v.fail("parameter %s of %s is of type %s, which programs have no values of", p.Name, kernel, p.Type)
		return
	case a.Kind != kind && !(a.Kind == ArgNull && kind == ArgAddress):
		v.fail("parameter %s of %s is of type %s, the argument is not: %s", p.Name, kernel, p.Type, a)
		return
	}
	if a.Kind == ArgNumber || a.Kind == ArgAddress {
		a.Expr.Names(func(name string) {
			if !known[name] {
				v.fail("parameter %s of %s has no argument, and nothing else is called %s", p.Name, kernel, name)
			}
		})
	}
	switch {
	case a.Kind == ArgFloat && !slices.Contains(launchFloats, a.Of):
		v.fail("parameter %s of %s: there is no float %s", p.Name, kernel, a.Of)
	case a.Kind != ArgAddress || slices.Contains(launchAddresses, a.Of):
	case p.Writes == nil || p.Reads != nil: // of which nothing is said is read
		v.reads(a.Of)
	default:
		v.exists(a.Of)
	}
}

func (v *programVerifier) exists(buffer string) {
	if _, there := v.Buffer(buffer); !there {
		v.fail("there is no buffer %s", buffer)
	}
}

func (v *programVerifier) reads(buffer string) {
	v.exists(buffer)
	if u := v.uses[buffer]; u != nil {
		u.last = v.step
		return
	}
	v.fail("buffer %s is read before it is written", buffer)
}

func (v *programVerifier) writes(buffer string) {
	if slices.Contains(launchAddresses, buffer) {
		return
	}
	v.exists(buffer)
	if u := v.uses[buffer]; u != nil {
		u.last = v.step
		return
	}
	v.uses[buffer] = &use{v.step, v.step}
}

// extents checks that buffers of one extent are not in use at the same time.
func (v *programVerifier) extents() {
	for i, x := range v.Buffers {
		for _, y := range v.Buffers[:i] {
			if extentOf(x) != extentOf(y) {
				continue
			}
			a, b := v.uses[x.Name], v.uses[y.Name]
			if a != nil && b != nil && a.first <= b.last && b.first <= a.last {
				v.fail("buffers %s and %s have one extent and are in use at the same time", y.Name, x.Name)
			}
		}
	}
}

// extentOf is the buffer whose extent it has.
func extentOf(x Buffer) string {
	if x.Over != "" {
		return x.Over
	}
	return x.Name
}
