package job

import (
	"fmt"

	"github.com/minfc/minfc/internal/demo"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/safetensors"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
)

// setParams checks the parameters and tells const from launch ones. A demo has values that mean something in the place of missing ones.
func (h *head) setParams(set map[string]int64, isDemo bool) (err error) {
	if isDemo {
		set = demo.Params(h.pattern, set)
	}
	if h.values, err = ir.CheckLaunch(h.pattern.Params, h.pattern.Requires, set); err != nil {
		return fmt.Errorf("--set: %w", err)
	}
	h.consts, h.launch = map[string]int64{}, map[string]int64{}
	for _, p := range h.pattern.Params {
		v, given := set[p.Name]
		switch {
		case given && p.Binding == ir.BindConst:
			h.consts[p.Name] = v
		case given:
			h.launch[p.Name] = v
		}
	}
	return nil
}

// cover lists the pairs that a launch kept: [len(rows), SeqK], in front of that a dimension of heads where data decides.
func (h *head) cover(in *qkv.Input, chosen []runtime.Chosen, rows []int) ([]byte, error) {
	a := runtime.Attention{SeqQ: in.SeqQ, SeqK: in.SeqK, QOffset: in.QOffset, Params: h.launch}
	if len(h.kernel.Schedule().Index) > 0 {
		return h.kernel.CoverChosen(a, chosen, rows)
	}
	return h.kernel.Cover(a, rows)
}

// checked is the head as the self check takes it.
func (h *head) checked(in *qkv.Input) selfcheck.Head {
	return selfcheck.Head{Pattern: h.pattern, Values: h.values, Index: h.kernel.Schedule().Index,
		Cover: func(chosen []runtime.Chosen, rows []int) ([]byte, error) { return h.cover(in, chosen, rows) }}
}

// heads are what the q heads run: one for all of them, or [QHeads].
func (j *Job) heads() []*head {
	if j.plan != nil {
		return j.plan.heads
	}
	return []*head{&j.head}
}

// headAt is what head h runs, counted over batches.
func (j *Job) headAt(h int) *head {
	all := j.heads()
	return all[h%j.In.QHeads%len(all)]
}

// dynamic says that heads differ in what they keep.
func (j *Job) dynamic() bool { return j.plan != nil || len(j.pattern.Index) > 0 }

// Cover lists the pairs that the launch kept in some query rows: [len(rows), SeqK], in front of that [Batch*QHeads] where heads differ.
func (j *Job) Cover(res runtime.HostResult, rows []int) ([]byte, error) {
	if j.plan == nil {
		return j.cover(j.In, res.Chosen, rows)
	}
	var out []byte
	for h := range j.In.Batch * j.In.QHeads {
		var own []runtime.Chosen
		if h < len(res.Chosen) {
			own = res.Chosen[h : h+1]
		}
		cover, err := j.headAt(h).cover(j.In, own, rows)
		if err != nil {
			return nil, err
		}
		out = append(out, cover...)
	}
	return out, nil
}

// CoverTensor is what Cover lists in the rows that coverage is asked for.
func (j *Job) CoverTensor(res runtime.HostResult) (safetensors.Tensor, error) {
	mask, err := j.Cover(res, j.Rows)
	return j.In.Cover(len(j.Rows), mask), err
}

// maxCover bounds the bytes of a coverage file.
const maxCover = 1 << 30

// checkCoverage checks the rows that coverage is asked for.
func (j *Job) checkCoverage() error {
	if !j.Coverage {
		return nil
	}
	if len(j.Rows) == 0 {
		j.Rows = everyRow(j.In.SeqQ)
	}
	for _, i := range j.Rows {
		if i < 0 || i >= j.In.SeqQ {
			return fmt.Errorf("--rows: there is no query row %d, q has %d, counted from 0", i, j.In.SeqQ)
		}
	}
	if size := float64(j.In.Batch) * float64(j.In.QHeads) * float64(len(j.Rows)) * float64(j.In.SeqK); size > maxCover {
		return fmt.Errorf("--coverage: %d rows of %d heads and %d keys need %.1f GB, the limit is %.1f: list fewer rows with --rows",
			len(j.Rows), j.In.Batch*j.In.QHeads, j.In.SeqK, size/1e9, maxCover/1e9)
	}
	return nil
}

func everyRow(n int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	return rows
}
