package main

import (
	"fmt"
	"strings"

	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/runtime"
)

// report prints what ran, one fact a line, name first.
func (j *job) report(a *app, res runtime.HostResult) error {
	density, sampled, err := j.density(res)
	if err != nil {
		return err
	}
	info, k := j.dev.Info(), j.head(0).kernel.Info()
	if j.plan != nil {
		j.reportPlan(a)
	} else {
		a.out.printf("pattern  %s%s\n", j.pattern.Name, j.params())
	}
	a.out.printf("device   %s:%d %s\n", info.Driver, info.Ordinal, info.Name)
	a.out.printf("kernel   %s, head dim %d, %s", k.Target, k.HeadDim, k.DType)
	if j.plan == nil { // the kernels of a plan have different tiles
		a.out.printf(", tile %dx%d", k.Rows(), k.KeyTile)
	}
	a.out.printf("\n")
	a.out.printf("shape    %s, q_offset %d, scale %.6g\n", j.in, j.in.QOffset, j.scaleValue())
	j.reportRoutes(a, res)
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
func (j *job) density(res runtime.HostResult) (part float64, sampled string, err error) {
	if j.in.SeqQ == 0 || j.in.SeqK == 0 {
		return 0, "", nil
	}
	pairs := maxPairs
	if res.Chosen != nil { // every head is looked at
		pairs /= j.in.Batch * j.in.QHeads
	}
	rows, n := everyRow(j.in.SeqQ), max(1, pairs/j.in.SeqK)
	if n < len(rows) {
		sampled = fmt.Sprintf(" (from %d of %d rows)", n, len(rows))
		for i := range n {
			rows[i] = (2*i + 1) * j.in.SeqQ / (2 * n) // the middle of the n-th part: exact on average for straight bands
		}
		rows = rows[:n]
	}
	mask, err := j.cover(res, rows)
	if err != nil {
		return 0, "", err
	}
	kept := 0
	for _, b := range mask {
		kept += int(b)
	}
	return float64(kept) / float64(len(mask)), sampled, nil
}

// check compares with the reference of the pattern; a result beyond its limits is a fault of ours. Where data decides, the
// reference attends to what the device's lists keep, and what the data chose is compared with the reference's choice.
func (j *job) check(a *app, res runtime.HostResult) error {
	c := selfcheck.Case{In: j.in, Scale: j.scaleValue(), O: res.O, LSE: res.LSE}
	var err error
	if j.dynamic() {
		c.Keeps, err = j.kept(res)
	} else {
		c.Keep, err = j.pattern.Keeps(j.values)
	}
	if err != nil {
		return bug(err)
	}
	r, err := selfcheck.Compare(c)
	if err != nil {
		return err
	}
	a.out.printf("check    %s: %s\n", verdict(r.OK()), r)
	if !r.OK() {
		return bug(fmt.Errorf("the result is wrong, worst at batch %d, head %d, row %d", r.WorstRow[0], r.WorstRow[1], r.WorstRow[2]))
	}
	if len(res.Chosen) > 0 {
		return j.checkChoices(a, res)
	}
	return nil
}

func verdict(ok bool) string {
	if ok {
		return "ok"
	}
	return "wrong"
}

// kept is the pattern's meaning for what each head's lists cover.
func (j *job) kept(res runtime.HostResult) ([]func(q, k int) bool, error) {
	var out []func(q, k int) bool
	for h, head := range j.choices(res) {
		keep, err := j.head(h).means(head)
		if err != nil {
			return nil, err
		}
		out = append(out, keep)
	}
	return out, nil
}

// means is the pattern's meaning for a head of this job: for what its lists keep, or for all that there is where the head fell
// back to dense attention.
func (j *job) means(head runtime.Chosen) (func(q, k int) bool, error) {
	if head.Dense {
		return j.pattern.Widest().Keeps(j.values)
	}
	return j.pattern.CoverWith(j.values, head.Kept)
}

// checkChoices compares what the data chose with float64, and looks whether all of it is kept.
func (j *job) checkChoices(a *app, res runtime.HostResult) error {
	c := selfcheck.ChoiceCase{In: j.in, Scale: j.scaleValue()}
	for h := range j.in.QHeads {
		c.Indexes, c.Values = append(c.Indexes, j.head(h).kernel.Schedule().Index), append(c.Values, j.head(h).values)
	}
	chose := 0
	for _, head := range res.Chosen {
		asked := head.Asked
		if len(asked.Sets) == 0 {
			asked = nil
		} else {
			chose++
		}
		c.Asked = append(c.Asked, asked)
	}
	r, err := selfcheck.CompareChoices(c)
	if err != nil {
		return err
	}
	if chose > 0 {
		a.out.printf("chosen   %s: %s\n", verdict(r.OK()), r)
	}
	if !r.OK() {
		return bug(fmt.Errorf("the index stage chose wrongly: %s", r.Worst))
	}
	return j.checkCover(res)
}

// checkCover looks at some rows of every head: what was asked for is kept, and the schedule keeps what the pattern means.
func (j *job) checkCover(res runtime.HostResult) error {
	for h, head := range j.choices(res) {
		hj := j.head(h)
		asked, err := hj.pattern.KeepsWith(hj.values, head.Asked)
		if err != nil {
			return bug(err)
		}
		means, err := hj.means(head)
		if err != nil {
			return bug(err)
		}
		for _, i := range []int{0, j.in.SeqQ / 3, j.in.SeqQ - 1} {
			if i < 0 || i >= j.in.SeqQ {
				continue
			}
			row, err := hj.cover(runtime.HostResult{Chosen: res.Chosen[h : h+1]}, []int{i})
			if err != nil {
				return err
			}
			q := j.in.QOffset + i
			for k, kept := range row {
				if means(q, k) != (kept == 1) || asked(q, k) && kept == 0 {
					return bug(fmt.Errorf("the lists of batch %d, head %d keep key %d of row %d otherwise than the pattern means", h/j.in.QHeads, h%j.in.QHeads, k, i))
				}
			}
		}
	}
	return nil
}
