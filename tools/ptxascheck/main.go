// Command ptxascheck passes every kernel of the pattern library through a real ptxas, for every GPU generation it is for, and holds the
// registers, spills and shared memory it reports against a golden table.
//
//	go run ./tools/ptxascheck -ptxas "$(tools/ptxas.sh)" [-llc PATH] [-update | -only TEXT]
//
// It fails on a rejected kernel, on local memory in kernels for sm_80 up to head dim 128 or any for sm_90a, but for the kernels that
// table.go names, where ptxas says that it runs products one after the other or ignores setmaxnreg (its messages C75xx), and on numbers
// other than the table's.
// With -llc, the kernels' LLVM IR must also be accepted by LLVM's own code generator.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.ptxas, "ptxas", "ptxas", "the ptxas to use")
	flag.StringVar(&o.llc, "llc", "", "LLVM's llc, 14 or newer; none: the LLVM IR is not checked")
	flag.StringVar(&o.golden, "golden", "testdata/ptxas/resources.txt", "the table of resources")
	flag.BoolVar(&o.update, "update", false, "rewrite the table")
	flag.StringVar(&o.only, "only", "", "print the resources of the kernels whose names contain this (as in \"dense bf16 d128\"), and no more")
	flag.IntVar(&o.jobs, "jobs", runtime.NumCPU(), "how many assemblers run at a time")
	flag.Parse()
	o.jobs = max(o.jobs, 1)
	if err := check(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type options struct {
	ptxas, llc, golden, only string
	update                   bool
	jobs                     int
}

func check(ctx context.Context, o options) error {
	a := assembler{o.ptxas}
	version, err := a.version()
	if err != nil {
		return err
	}
	start := time.Now()
	kernels, err := compileAll(o.only)
	if err != nil {
		return err
	}
	fmt.Printf("compiled %d kernels in %v\n", len(kernels), time.Since(start).Round(time.Millisecond))
	start = time.Now()
	rows, err := assembleAll(ctx, a, kernels, o.jobs)
	if err != nil {
		return err
	}
	fmt.Printf("ptxas %s took all of them, %d times, in %v\n", version, len(rows), time.Since(start).Round(time.Second))
	if err := judge(o, version, rows); err != nil {
		return err
	}
	return checkLLVM(ctx, o, kernels)
}

func checkLLVM(ctx context.Context, o options, kernels []kernel) error {
	if o.llc == "" {
		fmt.Println("no llc given: the LLVM IR is not checked")
		return nil
	}
	start := time.Now()
	if err := acceptAll(ctx, llc{o.llc}, kernels, o.jobs); err != nil {
		return err
	}
	fmt.Printf("llc took the LLVM IR of all of them in %v\n", time.Since(start).Round(time.Second))
	return nil
}

func judge(o options, version string, rows []row) error {
	table := render(version, rows)
	if o.only != "" {
		fmt.Print(table)
		return complaints(rows)
	}
	if o.update {
		if err := update(o.golden, table); err != nil {
			return err
		}
		fmt.Printf("wrote %s\n", o.golden)
		return complaints(rows)
	}
	if err := complaints(rows); err != nil {
		return err
	}
	note, err := compare(o.golden, version, table)
	if note != "" {
		fmt.Println(note)
	}
	return err
}
