package job

import (
	"fmt"

	"github.com/minfc/minfc/internal/demo"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/safetensors"
)

// setParams checks the parameters and tells const from launch ones. A demo has values that mean something in the place of missing ones.
func (h *head) setParams(set map[string]int64, isDemo bool) (err error) {
	if isDemo {
		set = demo.Params(h.pattern, set)
	}
	if h.values, err = ir.CheckLaunch(h.pattern.Params, h.pattern.Requires, set); err != nil {
		return fmt.Errorf("--set: %w", err)
	}
	h.consts, h.launch = h.pattern.ValuesAt(ir.BindConst, set), h.pattern.ValuesAt(ir.BindLaunch, set)
	return nil
}

// checked is the head as the self check takes it.
func (h *head) checked() selfcheck.Head {
	return selfcheck.Head{Pattern: h.pattern, Values: h.values, Index: h.kernel.Schedule().Index}
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
	if !j.dynamic() {
		return j.prepared.Cover(0, nil, rows)
	}
	var out []byte
	for h := range j.In.Batch * j.In.QHeads {
		var chosen *runtime.Chosen
		if h < len(res.Chosen) {
			chosen = &res.Chosen[h]
		}
		cover, err := j.prepared.Cover(h, chosen, rows)
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
