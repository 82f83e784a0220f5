package job

import (
	"fmt"
	"os"
	"strings"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/demo"
	"github.com/minfc/minfc/internal/outlook"
	"github.com/minfc/minfc/internal/pairs"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/internal/summary"
	"github.com/minfc/minfc/runtime"
)

// Report says what ran, and with check, or for a generated input, what the self check finds. A wrong result is reported, too, and is then
// the second error.
func (j *Job) Report(res runtime.HostResult, check bool) (sum *summary.Run, wrong, err error) {
	if sum, err = j.summarize(res); err != nil {
		return nil, nil, err
	}
	if check || j.demo() {
		wrong = j.check(res, sum)
	}
	return sum, wrong, nil
}

// check adds what the self check finds; its error says what is wrong.
func (j *Job) check(res runtime.HostResult, sum *summary.Run) error {
	l := selfcheck.Launch{In: j.In, Scale: j.scale(), Result: res, Cover: j.prepared.Cover, Progress: j.console.Progress.Func}
	for _, h := range j.heads() {
		l.Heads = append(l.Heads, h.checked())
	}
	v, err := l.Judge()
	if r := v.Result; r != nil {
		sum.Check = &summary.Verdict{OK: r.OK(), Text: r.String()}
	}
	if r := v.Choices; r != nil {
		sum.Chosen = &summary.Verdict{OK: r.OK(), Text: r.String()}
	}
	return err
}

// summarize says what ran.
func (j *Job) summarize(res runtime.HostResult) (*summary.Run, error) {
	info, k, tile := j.dev.Info(), j.loaded.Build(), j.headAt(0).kernel.Schedule().Tile
	sum := &summary.Run{
		Device: fmt.Sprintf("%s:%d %s", info.Driver, info.Ordinal, info.Name), Emulated: info.Driver == "emu", NoGPU: j.noGPU,
		Target: k.Target, HeadDim: k.HeadDim, DType: string(k.DType), Shape: j.In.String(), QOffset: j.In.QOffset, Scale: j.scale(),
		Q: []int{j.In.Batch, j.In.QHeads, j.In.SeqQ, j.In.HeadDim}, KV: []int{j.In.Batch, j.In.KVHeads, j.In.SeqK, j.In.HeadDim},
		Routes: j.routes(res), Millis: res.Milliseconds,
	}
	if j.plan != nil { // the kernels of a plan have different tiles
		sum.Plan = j.plan.summary(j.Plan, j.prepared)
	} else {
		sum.Pattern, sum.Params, sum.Label = j.pattern.Name, j.values, j.pattern.Name+j.params()
		sum.Tile = []int{j.kernel.BlockRows(), tile.Keys}
	}
	mask, err := j.mask(res)
	if err != nil {
		return nil, err
	}
	sum.Density, sum.Recall, sum.Skipped = j.density(mask), j.kept(res), j.skipped(res)
	if j.demo() {
		j.addDemo(sum, mask)
	}
	return sum, nil
}

// addDemo adds what a run without tensors shows beside its figures.
func (j *Job) addDemo(sum *summary.Run, mask pairs.Mask) {
	picture := mask.Draw(j.In.SeqQ, demo.Width, demo.Height)
	sum.Picture, sum.Runs, sum.Try = &picture, compile.GPUs(sum.Target), demo.Try(demo.Program(os.Args[0]), j.pattern)
	if look, err := outlook.Expect(j.dev.Info(), j.loaded, demo.Call(j.Set)); err == nil { // a kernel without prices has no such line
		sum.Model = demo.Model(look)
	}
}

// params lists the values in the order of the pattern.
func (j *Job) params() string {
	var b strings.Builder
	for _, p := range j.pattern.Params {
		fmt.Fprintf(&b, " %s=%d", p.Name, j.values[p.Name])
	}
	return b.String()
}

// maxPairs bounds the pairs that density looks at.
const maxPairs = 1 << 26

// mask is what the heads keep, on evenly spread rows where there are many.
func (j *Job) mask(res runtime.HostResult) (pairs.Mask, error) {
	m := pairs.Mask{Keys: j.In.SeqK, QOffset: j.In.QOffset}
	if j.In.SeqQ == 0 || j.In.SeqK == 0 {
		return m, nil
	}
	most := maxPairs
	if j.dynamic() { // every head is looked at
		most /= j.In.Batch * j.In.QHeads
	}
	m.Rows = pairs.Spread(j.In.SeqQ, most/j.In.SeqK)
	var err error
	m.Kept, err = j.Cover(res, m.Rows)
	return m, err
}

// density is the kept share of the pairs of dense attention, which are the causal ones unless a head looks ahead.
func (j *Job) density(m pairs.Mask) summary.Density {
	d := summary.Density{Of: "causal", Rows: j.In.SeqQ}
	for _, h := range j.heads() {
		if !h.kernel.Schedule().Causal() {
			d.Of = "all"
		}
	}
	if len(m.Rows) < j.In.SeqQ {
		d.Sampled = len(m.Rows)
	}
	d.Value = m.Density(d.Of == "causal")
	return d
}
