package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/bench"
	"github.com/minfc/minfc/internal/demo"
	"github.com/minfc/minfc/internal/pairs"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/internal/summary"
	"github.com/minfc/minfc/runtime"
)

// summarize says what ran.
func (j *job) summarize(res runtime.HostResult) error {
	info, k, tile := j.dev.Info(), j.loaded.Build(), j.head(0).kernel.Schedule().Tile
	j.sum = &summary.Run{
		Device: fmt.Sprintf("%s:%d %s", info.Driver, info.Ordinal, info.Name), Emulated: info.Driver == "emu", NoGPU: j.noGPU,
		Target: k.Target, HeadDim: k.HeadDim, DType: k.DType, Shape: j.in.String(), QOffset: j.in.QOffset, Scale: j.scaleValue(),
		Q: []int{j.in.Batch, j.in.QHeads, j.in.SeqQ, j.in.HeadDim}, KV: []int{j.in.Batch, j.in.KVHeads, j.in.SeqK, j.in.HeadDim},
		Routes: j.routes(res), Millis: res.Milliseconds,
	}
	if j.plan != nil { // the kernels of a plan have different tiles
		j.sum.Plan = j.plan.summary(j.prepared)
	} else {
		j.sum.Pattern, j.sum.Params, j.sum.Label, j.sum.Tile = j.pattern.Name, j.values, j.pattern.Name+j.params(), []int{j.kernel.BlockRows(), tile.Keys}
	}
	mask, err := j.mask(res)
	if err != nil {
		return err
	}
	j.sum.Density = j.density(mask)
	if j.demo {
		j.addDemo(mask)
	}
	return nil
}

// addDemo adds what a run without tensors shows beside its figures.
func (j *job) addDemo(mask pairs.Mask) {
	picture := mask.Draw(j.in.SeqQ, demo.Width, demo.Height)
	j.sum.Picture, j.sum.Runs, j.sum.Try = &picture, compile.GPUs(j.sum.Target), demo.Try(demo.Program(os.Args[0]), j.pattern)
	if look, err := bench.Expect(j.dev.Info(), j.loaded, demo.Call(j.given)); err == nil { // a kernel without prices has no such line
		j.sum.Model = demo.Model(look)
	}
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

// mask is what the heads keep, on evenly spread rows where there are many.
func (j *job) mask(res runtime.HostResult) (pairs.Mask, error) {
	m := pairs.Mask{Keys: j.in.SeqK, QOffset: j.in.QOffset}
	if j.in.SeqQ == 0 || j.in.SeqK == 0 {
		return m, nil
	}
	most := maxPairs
	if j.dynamic() { // every head is looked at
		most /= j.in.Batch * j.in.QHeads
	}
	m.Rows = pairs.Spread(j.in.SeqQ, most/j.in.SeqK)
	var err error
	m.Kept, err = j.cover(res, m.Rows)
	return m, err
}

// density is the kept share of the pairs of dense attention, which are the causal ones unless a head looks ahead.
func (j *job) density(m pairs.Mask) summary.Density {
	d := summary.Density{Of: "causal", Rows: j.in.SeqQ}
	for h := range j.in.QHeads {
		if !j.head(h).kernel.Schedule().Causal() {
			d.Of = "all"
		}
	}
	if len(m.Rows) < j.in.SeqQ {
		d.Sampled = len(m.Rows)
	}
	d.Value = m.Density(d.Of == "causal")
	return d
}

// check compares with the reference of the pattern; a result beyond its limits is a fault of ours. Where data decides, the
// reference attends to what the device's lists keep, and what the data chose is compared with the reference's choice.
func (j *job) check(a *app, res runtime.HostResult) error {
	c := selfcheck.Case{In: j.in, Scale: j.scaleValue(), O: res.O, LSE: res.LSE, Progress: a.progress.Func("checking rows")}
	var err error
	if j.dynamic() {
		c.Keeps, err = j.kept(res)
	} else {
		c.Keep, err = j.pattern.EndingAt(j.in.End()).Keeps(j.values)
	}
	if err != nil {
		return bug(err)
	}
	r, err := selfcheck.Compare(c)
	if err != nil {
		return err
	}
	j.sum.Check = &summary.Verdict{OK: r.OK(), Text: r.String()}
	if !r.OK() {
		return bug(fmt.Errorf("the result is wrong, worst at batch %d, head %d, row %d", r.WorstRow[0], r.WorstRow[1], r.WorstRow[2]))
	}
	if len(res.Chosen) > 0 {
		return j.checkChoices(a, res)
	}
	return nil
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
		return j.pattern.Widest().EndingAt(j.in.End()).Keeps(j.values)
	}
	return j.pattern.EndingAt(j.in.End()).CoverWith(j.values, head.Kept)
}

// checkChoices compares what the data chose with float64, and looks whether all of it is kept.
func (j *job) checkChoices(a *app, res runtime.HostResult) error {
	c := selfcheck.ChoiceCase{In: j.in, Scale: j.scaleValue(), Progress: a.progress.Func("checking choices")}
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
		j.sum.Chosen = &summary.Verdict{OK: r.OK(), Text: r.String()}
	}
	if !r.OK() {
		return bug(fmt.Errorf("the index stage chose wrongly: %s", r.Worst))
	}
	return j.checkCover(res)
}

// checkCover looks at some rows of every head: what was asked for is kept, and the schedule keeps what the pattern means.
func (j *job) checkCover(res runtime.HostResult) error {
	for h, head := range j.choices(res) {
		hj := j.head(h) // of its pattern
		asked, err := hj.pattern.EndingAt(j.in.End()).KeepsWith(hj.values, head.Asked)
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
			row, err := j.coverOf(h, res, []int{i})
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
