package main

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/internal/half"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/ptxgen"
	"github.com/minfc/minfc/workload"
)

// What a kernel is made for: every library pattern with each of these.
var (
	headDims = []int{16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256}
	ruleDims = []int{16, 64, 80, 128, 256} // of the patterns of rules.minf
	dtypes   = []string{"bf16", "f16"}
)

const target = "sm_80"

// compileAll compiles the pattern library in the order of the table: the kernels whose names contain only.
func compileAll(only string) ([]kernel, error) {
	var kernels []kernel
	var failures []error
	seen := map[string]bool{}
	for _, pattern := range append(patterns.Names(), ruleNames...) {
		for _, dtype := range dtypes {
			for _, dim := range dimsOf(pattern) {
				name := fmt.Sprintf("%s %s d%d", pattern, dtype, dim)
				if !strings.Contains(name, only) {
					continue
				}
				k, err := compile(pattern, dtype, dim)
				if err != nil {
					failures = append(failures, fmt.Errorf("%s: %w", name, err))
				}
				for _, x := range k { // patterns share most kernels of their index stages
					if !seen[string(x.ptx)] {
						seen[string(x.ptx)] = true
						kernels = append(kernels, x)
					}
				}
			}
		}
	}
	for _, dtype := range dtypes {
		for _, dim := range headDims {
			name := fmt.Sprintf("%s %s d%d", generator, dtype, dim)
			if !strings.Contains(name, only) {
				continue
			}
			k, err := compileGenerator(dtype, dim)
			if err != nil {
				failures = append(failures, fmt.Errorf("%s: %w", name, err))
			}
			kernels = append(kernels, k)
		}
	}
	if len(kernels)+len(failures) == 0 {
		return nil, fmt.Errorf("no kernel has %q in its name, they look like %q", only, "dense bf16 d128")
	}
	return kernels, errors.Join(failures...)
}

// generator names the kernel of package workload, which makes inputs on the device, in the table.
const generator = "workload"

func compileGenerator(dtype string, dim int) (kernel, error) {
	k, err := workload.Kernel(dim, half.Format(dtype))
	if err != nil {
		return kernel{}, err
	}
	ptx, err := ptxgen.Compile(k.Module, ptxgen.Options{Target: target})
	return kernel{pattern: generator, dtype: dtype, headDim: dim, entry: k.Entry, threads: k.Threads, dynamicShared: k.SharedBytes,
		ptx: ptx, llvm: k.Module.String()}, err
}

// ruleNames are the patterns of rules.minf.
var ruleNames = []string{"spread", "shares"}

//go:embed rules.minf
var rules []byte

func dimsOf(pattern string) []int {
	if slices.Contains(ruleNames, pattern) {
		return ruleDims
	}
	return headDims
}

func compile(pattern, dtype string, dim int) ([]kernel, error) {
	file, src, ok := patterns.Source(pattern)
	if slices.Contains(ruleNames, pattern) {
		file, src, ok = "rules.minf", rules, true
	}
	if !ok {
		return nil, fmt.Errorf("internal: the library lists %q and has no source for it", pattern)
	}
	var llvm []string // of every module
	art, err := minfc.Compile(file, src, minfc.Options{
		Pattern: pattern, Target: target, HeadDim: dim, DType: dtype, Verify: true,
		Module: func(text string) { llvm = append(llvm, text) },
	})
	if err != nil {
		return nil, err
	}
	var kernels []kernel
	for _, k := range art.Manifest.Kernels {
		kernels = append(kernels, kernel{
			pattern: pattern, dtype: dtype, headDim: dim, entry: k.Entry,
			threads: k.Threads, dynamicShared: k.SharedBytes, ptx: art.Modules[k.Module], llvm: llvm[k.Module],
		})
	}
	for _, x := range art.Manifest.Kernels[0].Stages {
		name := pattern + "/" + x.Kind
		if x.Heads > 0 {
			name = fmt.Sprintf("%s.%d", name, x.Heads)
		}
		kernels = append(kernels, kernel{
			pattern: name, dtype: dtype, headDim: dim, entry: x.Entry,
			threads: x.Threads, dynamicShared: x.SharedBytes, ptx: art.Modules[x.Module], llvm: llvm[x.Module],
		})
	}
	return kernels, nil
}
