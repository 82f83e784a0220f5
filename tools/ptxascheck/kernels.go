package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/patterns"
)

// What a kernel is made for: every library pattern with each of these.
var (
	headDims = []int{16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256}
	dtypes   = []string{"bf16", "f16"}
)

const target = "sm_80"

// compileAll compiles the pattern library in the order of the table: the kernels whose names contain only.
func compileAll(only string) ([]kernel, error) {
	var kernels []kernel
	var failures []error
	for _, pattern := range patterns.Names() {
		if patterns.Dynamic(pattern) {
			continue // it has no artifact
		}
		for _, dtype := range dtypes {
			for _, dim := range headDims {
				name := fmt.Sprintf("%s %s d%d", pattern, dtype, dim)
				if !strings.Contains(name, only) {
					continue
				}
				k, err := compile(pattern, dtype, dim)
				if err != nil {
					failures = append(failures, fmt.Errorf("%s: %w", name, err))
				}
				kernels = append(kernels, k...)
			}
		}
	}
	if len(kernels)+len(failures) == 0 {
		return nil, fmt.Errorf("no kernel has %q in its name, they look like %q", only, "dense bf16 d128")
	}
	return kernels, errors.Join(failures...)
}

func compile(pattern, dtype string, dim int) ([]kernel, error) {
	file, src, ok := patterns.Source(pattern)
	if !ok {
		return nil, fmt.Errorf("internal: the library lists %q and has no source for it", pattern)
	}
	var llvm string
	keepLLVM := func(stage, text string) {
		if stage == "llvm" {
			llvm = text
		}
	}
	art, err := minfc.Compile(file, src, minfc.Options{
		Pattern: pattern, Target: target, HeadDim: dim, DType: dtype, Verify: true, Emit: keepLLVM,
	})
	if err != nil {
		return nil, err
	}
	var kernels []kernel
	for _, k := range art.Manifest.Kernels {
		kernels = append(kernels, kernel{
			pattern: pattern, dtype: dtype, headDim: dim, entry: k.Entry,
			threads: k.Threads, dynamicShared: k.SharedBytes, ptx: art.Modules[k.Module], llvm: llvm,
		})
	}
	return kernels, nil
}
