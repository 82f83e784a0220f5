package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/minfc/minfc/abi"
)

// kernel is one compiled pattern.
type kernel struct {
	pattern       string
	dtype         abi.DType
	target        string // what its PTX is for
	headDim       int
	entry         string
	threads       int
	dynamicShared int // bytes
	ptx           []byte
	llvm          string // the LLVM IR the PTX was made from
}

// assembleAll assembles every kernel for every generation that its target runs on, jobs at a time. The rows come in the
// order of the kernels whatever finishes first; the error joins all failures.
func assembleAll(ctx context.Context, a assembler, kernels []kernel, jobs int) ([]row, error) {
	var rows []row
	for _, k := range kernels {
		for _, arch := range archs[k.target] {
			rows = append(rows, row{kernel: k, arch: arch})
		}
	}
	err := each(len(rows), jobs, func(i int) error {
		var err error
		rows[i].resources, err = a.assemble(ctx, rows[i].ptx, rows[i].entry, rows[i].arch)
		if err != nil {
			return fmt.Errorf("%s: %w", rows[i].key(), err)
		}
		return nil
	})
	return rows, err
}

// acceptAll has LLVM's code generator read every kernel's LLVM IR, jobs at a time; the error joins all failures.
func acceptAll(ctx context.Context, l llc, kernels []kernel, jobs int) error {
	return each(len(kernels), jobs, func(i int) error {
		if err := l.accept(ctx, kernels[i].llvm); err != nil {
			return fmt.Errorf("%s: %w", row{kernel: kernels[i], arch: kernels[i].target}.key(), err)
		}
		return nil
	})
}

// each calls f for 0..n-1, jobs at a time, and joins the errors in that order.
func each(n, jobs int, f func(i int) error) error {
	failures := make([]error, n)
	var group errgroup.Group
	group.SetLimit(jobs)
	for i := range n {
		group.Go(func() error {
			failures[i] = f(i)
			return nil
		})
	}
	group.Wait()
	return errors.Join(failures...)
}

// complaints joins what the rows may not do.
func complaints(rows []row) error {
	var all []error
	for _, r := range rows {
		if c := r.complaint(); c != "" {
			all = append(all, errors.New(c))
		}
	}
	return errors.Join(all...)
}

// compare holds a table against the golden file. With another release of ptxas numbers differ for no fault of ours:
// then they are not compared, and the note says so.
func compare(golden, version, table string) (note string, err error) {
	old, err := os.ReadFile(golden)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("there is no %s; make it with -update", golden)
	}
	if err != nil {
		return "", err
	}
	if recorded := tableVersion(string(old)); recorded != version {
		return fmt.Sprintf("%s was made with ptxas %s and this is %s: numbers not compared", golden, recorded, version), nil
	}
	if d := difference(string(old), table); d != "" {
		return "", fmt.Errorf("resources differ from %s (rewrite it with -update if that is meant):\n%s", golden, strings.TrimRight(d, "\n"))
	}
	return "", nil
}

func update(golden, table string) error {
	if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
		return err
	}
	return os.WriteFile(golden, []byte(table), 0o644)
}
