// Package ptxgen lowers LLVM IR modules of NVVM style to PTX text. It knows instructions, not attention.
//
// The road of one module: Verify proves types, control flow and dominance; demand finds what must be computed in a
// register; select turns each instruction into PTX templates over virtual registers, in the order of the IR; allocate
// joins phis, tied asm operands and accumulators into one register where their lives allow it, and places the copies
// that remain; print writes the text. ptxas does the real register allocation: here a register is only a name, but a
// name that never moves. A last check refuses copies of wgmma accumulators in flight.
//
// A pointer to a byval parameter is its address in the param space: loads through it are ld.param, and inline asm that
// takes it uses ld.param or cvta.param.
//
// Not supported, and refused by name: calls of anything but the listed intrinsics and inline asm, memory outside the
// global, shared and param spaces, scalar half and double, 8-bit integers, switch, atomics. Their place is inline asm.
package ptxgen

import (
	"fmt"
	"sort"
	"strings"

	"github.com/llir/llvm/ir"
)

// Options chooses what Compile makes.
type Options struct {
	// Target is the GPU the PTX names, such as "sm_80"; Targets lists them.
	Target string
}

// target is what the head of a PTX file says about the GPU.
type target struct {
	version string // the lowest PTX version that has what our kernels use there
}

var targets = map[string]target{
	"sm_80":  {version: "7.4"},
	"sm_90a": {version: "8.0"},
}

// Targets lists the names Options.Target may have, sorted.
func Targets() []string {
	names := make([]string, 0, len(targets))
	for name := range targets {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Version is the PTX version of what Compile makes for a target, such as "7.4"; "" for an unknown target. The driver that loads it must
// know this version.
func Version(target string) string { return targets[target].version }

// Compile verifies m and returns its PTX: one .entry for each function that !nvvm.annotations calls a kernel, in the
// order of m. Equal modules give equal bytes. The error names function, block and instruction.
func Compile(m *ir.Module, opts Options) ([]byte, error) {
	t, ok := targets[opts.Target]
	if !ok {
		return nil, fmt.Errorf("unknown target %q; want one of %s", opts.Target, strings.Join(Targets(), ", "))
	}
	mod, err := analyse(m)
	if err != nil {
		return nil, err
	}
	p := &printer{}
	p.header(opts.Target, t, mod.globals)
	for _, fn := range mod.kernels {
		mf, err := compileFunc(fn)
		if err != nil {
			return nil, err
		}
		p.function(mf)
	}
	return p.buf, nil
}

// compileFunc takes one verified kernel to machine code with its registers joined and its copies placed.
func compileFunc(fn *function) (*mfunc, error) {
	mf, err := selectFunc(fn)
	if err != nil {
		return nil, err
	}
	allocate(mf)
	return mf, checkInFlight(mf)
}
