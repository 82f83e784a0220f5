package ir

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// ProgramLaunch is what a program is interpreted for: one call on one device.
type ProgramLaunch struct {
	Numbers Env   // everything that Program lists but parts of it that differ by head
	Heads   []Env // parameters of each q head, nil for heads that take no part
	Kernels Kernels
}

// Extent is where a buffer lies, in bytes from the start of the memory that it is in: what attention reads (kept), or what is free
// again when attention begins (passing).
type Extent struct {
	Passing       bool
	Offset, Bytes int64
}

// BufferAlign is what buffers are aligned to, in bytes.
const BufferAlign = 256

// BoundProgram is a program with the numbers of a call. It is immutable.
type BoundProgram struct {
	program *Program
	launch  ProgramLaunch
	numbers Env
	extents map[string]Extent

	Kept, Passing int64 // bytes of memory of either kind
}

// Address is a place that is known once a call has its pointers: some bytes from the start of a tensor, of the kept or of the passing
// memory. Base "" is the null pointer.
type Address struct {
	Base  string
	Bytes int64
}

// The bases of addresses beside the names of tensors.
const (
	BaseKept    = "kept"
	BasePassing = "passing"
)

// Action is one thing to enqueue: a launch, or with Kernel "" the clearing of Bytes at To.
type Action struct {
	Kernel  string
	Grid    [3]int64
	Threads int64 // 0: what the kernel was compiled for
	Args    []ActionArg
	To      Address
	Bytes   int64
}

// ActionArg is the value of one parameter: a number, a float of the launch, or an address. A tensor map has none.
type ActionArg struct {
	Kind    ArgKind
	Number  int64
	Float   string
	By      int64 // what the float is divided by
	Address Address
}

// Bind computes everything of a program that depends on the call's numbers alone. Errors are about the call.
func (p *Program) Bind(l ProgramLaunch) (*BoundProgram, error) {
	b := &BoundProgram{program: p, launch: l, numbers: maps.Clone(l.Numbers), extents: map[string]Extent{}}
	for _, v := range p.Variants {
		if err := b.pick(v); err != nil {
			return nil, err
		}
	}
	for _, v := range p.Values {
		x, err := b.value(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name, err)
		}
		b.numbers[v.Name] = x
	}
	for _, l := range p.Limits {
		x, err := l.Value.Eval(b.numbers)
		if err == nil && x > l.Most {
			what, advice, _ := strings.Cut(l.What, "; ")
			err = fmt.Errorf("%s is %d, want at most %d; %s", what, x, l.Most, advice)
		}
		if err != nil {
			return nil, err
		}
	}
	return b, b.layOut()
}

// pick chooses the number of a variant.
func (b *BoundProgram) pick(v Variant) error {
	want, err := v.For.Eval(b.numbers)
	if err != nil {
		return fmt.Errorf("%s: %w", v.Name, err)
	}
	kernels, best := b.program.kernelsOf(v.Name), int64(-1)
	for _, n := range v.Of {
		there := !slices.ContainsFunc(kernels, func(k string) bool {
			_, ok := b.launch.Kernels(variantName(k, n))
			return !ok
		})
		if there && best < want {
			best = n
		}
	}
	if best < 0 {
		return fmt.Errorf("no size of %s has room on the device", strings.Join(kernels, " and "))
	}
	b.numbers[v.Name] = best
	return nil
}

func variantName(kernel string, n int64) string { return fmt.Sprintf("%s.%d", kernel, n) }

// kernelsOf lists the kernels that come in a variant.
func (p *Program) kernelsOf(variant string) (out []string) {
	p.eachStep(func(s Step) {
		if r, ok := s.(Run); ok && r.Variant == variant && !slices.Contains(out, r.Kernel) {
			out = append(out, r.Kernel)
		}
	})
	return out
}

// eachStep calls f for the steps of all parts, the steps of a loop behind the loop.
func (p *Program) eachStep(f func(Step)) {
	var walk func(steps []Step)
	walk = func(steps []Step) {
		for _, s := range steps {
			f(s)
			if loop, ok := s.(For); ok {
				walk(loop.Steps)
			}
		}
	}
	for _, part := range p.Parts {
		walk(part.Steps)
	}
}

// value is a value of the program: of Most, the largest over the heads.
func (b *BoundProgram) value(v Value) (int64, error) {
	if !v.Most {
		return v.Expr.Eval(b.numbers)
	}
	most := int64(0)
	err := b.eachHead(func(h int, own Env) error {
		x, err := v.Expr.Eval(own)
		most = max(most, x)
		return err
	})
	return most, err
}

// eachHead calls f for every q head that takes part, with all numbers that hold for it.
func (b *BoundProgram) eachHead(f func(h int, own Env) error) error {
	own := maps.Clone(b.numbers)
	for h, params := range b.launch.Heads {
		if params == nil {
			continue
		}
		maps.Copy(own, params)
		if err := f(h, own); err != nil {
			return err
		}
	}
	return nil
}

// elementBytes is the size of an element of each type of buffer. Elements of the data itself have 16 bits.
var elementBytes = map[string]int64{"i32": 4, "u32": 4, "f32": 4, "elem": 2}

// layOut gives every buffer its extent.
func (b *BoundProgram) layOut() error {
	for _, x := range b.program.Buffers {
		bytes := N(elementBytes[x.Type])
		for _, e := range x.Shape {
			bytes = bytes.Times(e)
		}
		n, err := bytes.Eval(b.numbers)
		if err != nil || n < 0 || n > math.MaxInt64/4 {
			return fmt.Errorf("the call needs a buffer of %s elements for %s, which no device has", joinExprs(x.Shape), x.Name)
		}
		end := &b.Kept
		if x.Passing {
			end = &b.Passing
		}
		extent := Extent{x.Passing, *end, n}
		if x.Over != "" {
			extent.Offset = b.extents[x.Over].Offset
		}
		b.extents[x.Name] = extent
		*end = max(*end, extent.Offset+(n+BufferAlign-1)/BufferAlign*BufferAlign)
	}
	return nil
}

// Extent is where a buffer lies.
func (b *BoundProgram) Extent(buffer string) Extent { return b.extents[buffer] }

// Number is the value of a name of the program or of its launch; 0 for one that has none.
func (b *BoundProgram) Number(name string) int64 { return b.numbers[name] }

// At is the address of a buffer.
func (b *BoundProgram) At(buffer string) Address {
	extent := b.extents[buffer]
	if extent.Passing {
		return Address{BasePassing, extent.Offset}
	}
	return Address{BaseKept, extent.Offset}
}

// Work adds up what the program says of the work of one batch entry, by unit.
func (b *BoundProgram) Work() (map[string]float64, error) {
	out := map[string]float64{}
	for _, w := range b.program.Work {
		n, err := w.Amount.Eval(b.numbers)
		if err != nil {
			return nil, fmt.Errorf("work %s: %w", w.Unit, err)
		}
		out[w.Unit] += float64(n)
	}
	return out, nil
}

// takesPart says whether one of n heads from first on does.
func (b *BoundProgram) takesPart(first, n int64) bool {
	heads := int64(len(b.launch.Heads))
	for h := first; h < first+n; h++ {
		if b.launch.Heads[h%heads] != nil {
			return true
		}
	}
	return false
}

// LeftOut says whether some heads take no part.
func (b *BoundProgram) LeftOut() bool {
	return slices.ContainsFunc(b.launch.Heads, func(e Env) bool { return e == nil })
}

// KernelNames lists the kernels that the parts of a program may run, in the order of their first steps, each size by its own name.
func (p *Program) KernelNames() (out []string) {
	p.eachKernel(func(names []string) {
		for _, n := range names {
			if !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	})
	return out
}

// Missing is a kernel of the program that is not there, in any size; "" if there is none.
func (p *Program) Missing(kernels Kernels) (name string) {
	p.eachKernel(func(names []string) {
		there := slices.ContainsFunc(names, func(n string) bool {
			_, ok := kernels(n)
			return ok
		})
		if !there && name == "" {
			name, _, _ = strings.Cut(names[0], ".")
		}
	})
	return name
}

// eachKernel calls f with the names of the kernel of each step: one, or one a size.
func (p *Program) eachKernel(f func(names []string)) {
	p.eachStep(func(s Step) {
		switch s := s.(type) {
		case Store:
			f([]string{s.Kernel})
		case Run:
			f(p.sizesOf(s))
		}
	})
}

// sizesOf are the names of the kernel that a step runs: one, or one a size; none if the program does not define its variant.
func (p *Program) sizesOf(s Run) (names []string) {
	if s.Variant == "" {
		return []string{s.Kernel}
	}
	for _, v := range p.Variants {
		if v.Name == s.Variant {
			for _, n := range v.Of {
				names = append(names, variantName(s.Kernel, n))
			}
		}
	}
	return names
}
