package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// row is one kernel on one GPU generation.
type row struct {
	kernel
	arch string
	resources
}

// key names a row in the table and in messages.
func (r row) key() string { return fmt.Sprintf("%s %s d%d %s", r.pattern, r.dtype, r.headDim, r.arch) }

// spillFreeUpTo is the largest head dim whose kernels for a target may not touch local memory; on sm_90a no kernel may, because
// ptxas gives up running wgmma side by side before it spills.
var spillFreeUpTo = map[string]int{"sm_80": 128, "sm_90a": 256}

// complaint says what no kernel of this head dim may do, or "".
func (r row) complaint() string {
	var all []string
	local, most := max(r.stack, r.spillStores, r.spillLoads), spillFreeUpTo[r.target]
	if r.headDim <= most && local > 0 {
		all = append(all, fmt.Sprintf("%s: %d bytes of spill stores, %d of spill loads, %d of stack; kernels for %s up to head dim %d use no local memory",
			r.key(), r.spillStores, r.spillLoads, r.stack, r.target, most))
	}
	for _, l := range r.losses {
		all = append(all, fmt.Sprintf("%s: %s", r.key(), l))
	}
	return strings.Join(all, "\n")
}

const tableTitle = "# What ptxas says of every kernel; bytes but for registers. Rewritten by: go run ./tools/ptxascheck -ptxas PATH -update"

// render prints the table: aligned, one line a row, in the order given.
func render(version string, rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n# ptxas %s\n", tableTitle, version)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "pattern\tdtype\tdim\tarch\tthreads\tregisters\tspill stores\tspill loads\tstack\tstatic shared\tdynamic shared\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", r.pattern, r.dtype, r.headDim, r.arch, r.threads,
			r.registers, r.spillStores, r.spillLoads, r.stack, r.resources.shared, r.dynamicShared)
	}
	w.Flush()
	return b.String()
}

// tableVersion is the release of ptxas that a rendered table was made with, or "".
func tableVersion(table string) string {
	for line := range strings.Lines(table) {
		if v, found := strings.CutPrefix(strings.TrimSpace(line), "# ptxas "); found {
			return v
		}
	}
	return ""
}

// difference lists the lines that only one of the tables has, old ones with a minus and new ones with a plus, or "".
// Rows are compared apart from their alignment, so that one longer number does not make every line differ.
func difference(old, new string) string {
	var b strings.Builder
	had, has := lineSet(old), lineSet(new)
	for line := range strings.Lines(old) {
		if !has[fields(line)] {
			fmt.Fprintf(&b, "- %s\n", strings.TrimRight(line, "\n"))
		}
	}
	for line := range strings.Lines(new) {
		if !had[fields(line)] {
			fmt.Fprintf(&b, "+ %s\n", strings.TrimRight(line, "\n"))
		}
	}
	return b.String()
}

func fields(line string) string { return strings.Join(strings.Fields(line), " ") }

func lineSet(table string) map[string]bool {
	set := map[string]bool{}
	for line := range strings.Lines(table) {
		set[fields(line)] = true
	}
	return set
}
