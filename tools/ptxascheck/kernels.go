package main

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/runtime/artifact"
)

// Head dims that kernels are made for. shapeDims has the widest of every shape that a target cuts head dims to, and two that leave
// part of a panel unused.
var (
	headDims  = allHeadDims()
	shapeDims = []int{16, 64, 80, 96, 112, 128, 192, 256}
	ruleDims  = []int{16, 64, 80, 128, 256} // of the patterns of rules.minf

	lengthsDims = []int{64, 80, 128, 256} // of patterns whose lengths are in device memory
)

func allHeadDims() (out []int) {
	for d := abi.MinHeadDim; d <= abi.MaxHeadDim; d += abi.HeadDimStep {
		out = append(out, d)
	}
	return out
}

// archs are the GPU generations that code of a target must assemble for. PTX for sm_80 runs on both.
var archs = map[string][]string{"sm_80": {"sm_80", "sm_90"}, "sm_90a": {"sm_90a"}}

// common is the target of the kernels that all attention kernels share.
const common = "sm_80"

// dimsOf lists the head dims a pattern is compiled for. The code for f16 is the code for bf16 with other names in its products and
// conversions, and ptxas has never needed anything else for it: where shapes change is enough.
func dimsOf(pattern string, dtype abi.DType) []int {
	_, lengths := strings.CutSuffix(pattern, byLengths)
	switch {
	case lengths && dtype == abi.F16:
		return nil
	case lengths:
		return lengthsDims
	case slices.Contains(ruleNames, pattern):
		return ruleDims
	case dtype == abi.F16 || strings.HasPrefix(pattern, "given"):
		return shapeDims
	}
	return headDims
}

// Code for sm_90a takes ptxas a second a kernel. What patterns differ in there is where the producer walks and which scores are
// masked, so one pattern for each kind of walk has every head dim, and the others have the head dims where shapes change.
var (
	walks      = []string{"a_shape", "vertical_slash", "block_sparse"} // of ranges; of runs and columns; of blocks
	hopperDims = []int{16, 64, 80, 128, 192, 256}
)

// targetOf is what to compile a pattern for: all targets, or the one that has all combinations.
func targetOf(pattern string, dtype abi.DType, dim int) string {
	if slices.Contains(hopperDims, dim) || dtype == abi.BF16 && slices.Contains(walks, pattern) {
		return compile.TargetAuto
	}
	return "sm_80"
}

// compileAll compiles the pattern library in the order of the table: the kernels whose names contain only.
func compileAll(only string) ([]kernel, error) {
	var all collected
	for _, pattern := range slices.Concat(patterns.Names(), ruleNames, slices.Sorted(maps.Keys(given)), lengthsNames()) {
		for _, dtype := range abi.DTypes() {
			for _, dim := range dimsOf(pattern, dtype) {
				if name := nameOf(pattern, dtype, dim); strings.Contains(name, only) {
					k, err := compiled(pattern, dtype, dim)
					all.add(name, k, err)
				}
			}
		}
	}
	for _, dim := range shapeDims {
		if name := nameOf(group, abi.BF16, dim); strings.Contains(name, only) {
			k, err := compileGroup(abi.BF16, dim)
			all.add(name, k, err)
		}
	}
	for _, dim := range ruleDims {
		if name := nameOf(recall, abi.BF16, dim); strings.Contains(name, only) {
			k, err := compileRecall(abi.BF16, dim)
			all.add(name, k, err)
		}
	}
	for _, dtype := range abi.DTypes() {
		for _, dim := range headDims {
			if name := nameOf(generator, dtype, dim); strings.Contains(name, only) {
				k, err := compileGenerator(dtype, dim)
				all.add(name, []kernel{k}, err)
			}
		}
	}
	if len(all.kernels)+len(all.failures) == 0 {
		return nil, fmt.Errorf("no kernel has %q in its name, they look like %q", only, "dense bf16 d128")
	}
	return all.kernels, errors.Join(all.failures...)
}

func nameOf(pattern string, dtype abi.DType, dim int) string {
	return fmt.Sprintf("%s %s d%d", pattern, dtype, dim)
}

// collected are kernels, each once: patterns share most kernels of their index stages, and the dense ones.
type collected struct {
	kernels  []kernel
	failures []error
	seen     map[string]bool
}

func (c *collected) add(name string, kernels []kernel, err error) {
	if err != nil {
		c.failures = append(c.failures, fmt.Errorf("%s: %w", name, err))
		return
	}
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	for _, k := range kernels {
		if code := readParams(string(k.ptx)); !c.seen[code] {
			c.seen[code] = true
			c.kernels = append(c.kernels, k)
		}
	}
}

// readParams is the PTX without the kernel parameters that it never reads, such as a pattern's own in its dense kernel.
func readParams(ptx string) string {
	var out strings.Builder
	for line := range strings.Lines(ptx) {
		if words := strings.Fields(line); len(words) > 2 && words[0] == ".param" {
			name := strings.TrimSuffix(words[len(words)-1], ",")
			if strings.Count(ptx, name) == 1 {
				continue
			}
		}
		out.WriteString(line)
	}
	return out.String()
}

// generator names the kernel of package workload, which makes inputs on the device, in the table.
const generator = "workload"

func compileGenerator(dtype abi.DType, dim int) (kernel, error) {
	k, err := workload.Kernel(dim, dtype)
	if err != nil {
		return kernel{}, err
	}
	ptx, err := ptxgen.Compile(k.Module, ptxgen.Options{Target: common})
	return kernel{pattern: generator, target: common, dtype: dtype, headDim: dim, entry: k.Entry, threads: k.Threads,
		dynamicShared: k.SharedBytes,
		ptx:           ptx, llvm: k.Module.String()}, err
}

// recall names the kernels that say what share of the attention calls kept.
const recall = "recall"

func compileRecall(dtype abi.DType, dim int) (kernels []kernel, err error) {
	var llvm []string // of every module
	r, err := compile.Recall(dim, dtype, &compile.Observer{Verify: true, Module: func(text string) { llvm = append(llvm, text) }})
	if err != nil {
		return nil, err
	}
	for _, u := range r.Kernels {
		c := r.Codes[u.Code]
		kernels = append(kernels, kernel{pattern: recall + "/" + u.Name, target: common, dtype: dtype, headDim: dim, entry: c.Entry,
			threads: c.Threads, dynamicShared: c.SharedBytes, ptx: r.Modules[c.Module], llvm: llvm[c.Module]})
	}
	return kernels, nil
}

// group names the kernels of head plans in the table. Its members walk all that there is to walk.
const group = "group"

var members = map[string]int{"a_shape": 2, "block_sparse": 1, "columns_window": 1, "strided": 1, "vertical_slash": 1} // copies

func compileGroup(dtype abi.DType, dim int) ([]kernel, error) {
	var all []compile.Member
	for _, name := range slices.Sorted(maps.Keys(members)) {
		p, err := compile.LoadLibrary(name)
		if err != nil {
			return nil, err
		}
		all = append(all, compile.Member{Program: p, Copies: members[name]})
	}
	var llvm []string // of every module
	art, err := compile.Group(all, compile.Options{Target: targetOf(group, dtype, dim), HeadDim: dim, DType: dtype},
		&compile.Observer{Verify: true, Module: func(text string) { llvm = append(llvm, text) }})
	if err != nil {
		return nil, err
	}
	var kernels []kernel
	for _, b := range art.Manifest.Builds {
		for _, n := range b.Groups {
			g := art.Manifest.Codes[n]
			name := fmt.Sprintf("%s/%d", group, len(g.Sections))
			kernels = append(kernels, kernel{pattern: name, target: b.Target, dtype: dtype, headDim: dim, entry: g.Entry,
				threads: g.Threads, dynamicShared: g.SharedBytes, ptx: art.Modules[g.Module], llvm: llvm[g.Module]})
		}
	}
	return kernels, nil
}

// ruleNames are the patterns of rules.minf.
var ruleNames = []string{"spread", "near", "shares", "skip_ranges", "skip_runs", "skip_blocks"}

//go:embed rules.minf
var rules []byte

// given are the patterns whose lists the caller gives, and whether they are causal.
var given = map[string]bool{"given": false, "given/causal": true}

// byLengths stands behind the names of patterns whose kernels read lengths from device memory: one for each kind of walk.
const byLengths = "/lengths"

func lengthsNames() (out []string) {
	for _, name := range walks {
		out = append(out, name+byLengths)
	}
	return out
}

// load reads a pattern of the library, of rules.minf, or one whose lists are given.
func load(pattern string) (*compile.Program, error) {
	if causal, is := given[pattern]; is {
		return compile.Given(causal), nil
	}
	file, src, ok := patterns.Source(pattern)
	if slices.Contains(ruleNames, pattern) {
		file, src, ok = "rules.minf", rules, true
	}
	if !ok {
		return nil, fmt.Errorf("internal: the library lists %q and has no source for it", pattern)
	}
	return compile.Load(file, src, pattern, nil)
}

func compiled(pattern string, dtype abi.DType, dim int) ([]kernel, error) {
	plain, lengths := strings.CutSuffix(pattern, byLengths)
	p, err := load(plain)
	if err != nil {
		return nil, err
	}
	var llvm []string // of every module
	art, err := p.Compile(compile.Options{Target: targetOf(plain, dtype, dim), HeadDim: dim, DType: dtype, Lengths: lengths},
		&compile.Observer{Verify: true, Module: func(text string) { llvm = append(llvm, text) }})
	if err != nil {
		return nil, err
	}
	return listed(pattern, dtype, dim, art, llvm), nil
}

// listed are the kernels of an artifact of one pattern as rows of the table.
func listed(pattern string, dtype abi.DType, dim int, art *artifact.Artifact, llvm []string) (kernels []kernel) {
	add := func(name, target string, c *artifact.Code) {
		kernels = append(kernels, kernel{pattern: name, target: target, dtype: dtype, headDim: dim, entry: c.Entry,
			threads: c.Threads, dynamicShared: c.SharedBytes, ptx: art.Modules[c.Module], llvm: llvm[c.Module]})
	}
	m := &art.Manifest
	for b, l := range m.Patterns[0].Lowered {
		add(pattern, m.Builds[b].Target, m.Kernel(&l, abi.Attend))
		if d := m.Kernel(&l, abi.Dense); d != nil {
			add(pattern+"/dense", m.Builds[b].Target, d)
		}
	}
	first := m.Patterns[0].Lowered[0] // all targets share the index kernels
	if first.Dense == "" {
		return kernels // the only one of a static pattern stores numbers, and every pattern has it
	}
	for _, u := range first.Kernels {
		if u.Name != abi.Attend && u.Name != abi.Dense {
			add(pattern+"/"+u.Name, common, &m.Codes[u.Code])
		}
	}
	return kernels
}
