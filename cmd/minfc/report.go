package main

import (
	"fmt"
	"strings"

	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/runtime"
)

// report prints what ran, one fact a line, name first.
func (j *job) report(a *app, res runtime.HostResult) error {
	density, sampled, err := j.density()
	if err != nil {
		return err
	}
	info, k := j.dev.Info(), j.kernel.Info()
	a.out.printf("pattern  %s%s\n", j.pattern.Name, j.params())
	a.out.printf("device   %s:%d %s\n", info.Driver, info.Ordinal, info.Name)
	a.out.printf("kernel   %s, head dim %d, %s, tile %dx%d\n", k.Target, k.HeadDim, k.DType, k.RowTile, k.KeyTile)
	a.out.printf("shape    %s, q_offset %d, scale %.6g\n", j.in, j.in.QOffset, j.scaleValue())
	a.out.printf("density  %.4g %% of the query-key pairs%s\n", 100*density, sampled)
	a.out.printf("time     %.3f ms\n", res.Milliseconds)
	return nil
}

// params lists the values in the order of the pattern.
func (j *job) params() string {
	var b strings.Builder
	for _, p := range j.pattern.Params {
		fmt.Fprintf(&b, " %s=%d", p.Name, j.values[p.Name])
	}
	return b.String()
}

// maxPairs bounds the pairs that density looks at.
const maxPairs = 1 << 26

// density is the kept part of the SeqQ x SeqK pairs, from evenly spread rows where there are many.
func (j *job) density() (part float64, sampled string, err error) {
	if j.in.SeqQ == 0 || j.in.SeqK == 0 {
		return 0, "", nil
	}
	rows, n := everyRow(j.in.SeqQ), max(1, maxPairs/j.in.SeqK)
	if n < len(rows) {
		sampled = fmt.Sprintf(" (from %d of %d rows)", n, len(rows))
		for i := range n {
			rows[i] = (2*i + 1) * j.in.SeqQ / (2 * n) // the middle of the n-th part: exact on average for straight bands
		}
		rows = rows[:n]
	}
	mask, err := j.cover(rows)
	if err != nil {
		return 0, "", err
	}
	kept := 0
	for _, b := range mask {
		kept += int(b)
	}
	return float64(kept) / float64(len(mask)), sampled, nil
}

// check compares with the reference of the pattern; a result beyond its limits is a fault of ours.
func (j *job) check(a *app, res runtime.HostResult) error {
	keep, err := j.pattern.Keeps(j.values)
	if err != nil {
		return bug(err)
	}
	r, err := selfcheck.Compare(selfcheck.Case{In: j.in, Keep: keep, Scale: j.scaleValue(), O: res.O, LSE: res.LSE})
	if err != nil {
		return err
	}
	verdict := "ok"
	if !r.OK() {
		verdict = "wrong"
	}
	a.out.printf("check    %s: %s\n", verdict, r)
	if !r.OK() {
		return bug(fmt.Errorf("the result is wrong, worst at batch %d, head %d, row %d", r.WorstRow[0], r.WorstRow[1], r.WorstRow[2]))
	}
	return nil
}
