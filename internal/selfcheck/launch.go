package selfcheck

import (
	"fmt"
	"math"
	"slices"

	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
)

// Head is what a q head ran.
type Head struct {
	Pattern *ir.Pattern
	Values  map[string]int64 // of all parameters
	Index   []ir.IndexDef    // what its kernel chooses
}

// Launch is a finished call and what it ran.
type Launch struct {
	In     *qkv.Input
	Scale  float64
	Heads  []Head // [QHeads], or one that all q heads ran
	Result runtime.HostResult
	// Cover lists the pairs that the kernel keeps in rows of a head, counted over batches, given what it chose: [len(rows), SeqK].
	Cover    func(head int, chosen *runtime.Chosen, rows []int) ([]byte, error)
	Progress func(what string) func(done, total int) // shows how far work is
}

// Verdict is what a check found. Parts that it did not come to, or that the launch does not have, are nil.
type Verdict struct {
	Result  *Report
	Choices *ChoiceReport
}

// Judge compares with the reference of the pattern; a result beyond its limits is a fault of ours. Where data decides, the reference
// attends to what the device's lists keep, and what the data chose is compared with the reference's choice.
func (l Launch) Judge() (v Verdict, err error) {
	c := Case{In: l.In, Pools: l.pools(), Scale: l.Scale, O: l.Result.O, LSE: l.Result.LSE, Progress: l.Progress("checking rows")}
	if one := l.Heads[0]; len(l.Heads) == 1 && len(one.Pattern.Index) == 0 {
		c.Keep, err = one.Pattern.EndingAt(l.In.End()).Keeps(one.Values)
	} else {
		c.Keeps, err = l.kept()
	}
	if err == nil {
		c.Skips, err = l.skips()
	}
	if err != nil {
		return v, failure.Bug(err)
	}
	if v.Result, err = Compare(c); err != nil {
		return v, err
	}
	if r := v.Result; !r.OK() {
		return v, failure.Bug(fmt.Errorf("the result is wrong, worst at batch %d, head %d, row %d", r.WorstRow[0], r.WorstRow[1], r.WorstRow[2]))
	}
	if len(l.Result.Chosen) == 0 {
		return v, nil
	}
	if v.Choices, err = l.judgeChoices(); err != nil {
		return v, err
	}
	return v, l.checkCover()
}

// head is what head h ran, counted over batches.
func (l Launch) head(h int) Head { return l.Heads[h%l.In.QHeads%len(l.Heads)] }

// pools are the keys of each head's means, [Batch*QHeads].
func (l Launch) pools() []int {
	out := make([]int, l.In.Batch*l.In.QHeads)
	for h := range out {
		out[h] = l.head(h).Pattern.Pool
	}
	return out
}

// skips are the shares of the heads' skips, nil if no pattern has one. A head that ran dense left nothing out.
func (l Launch) skips() (out []float64, err error) {
	if !slices.ContainsFunc(l.Heads, func(x Head) bool { return x.Pattern.Skip != nil }) {
		return nil, nil
	}
	out = make([]float64, l.In.Batch*l.In.QHeads)
	for h := range out {
		s := l.head(h).Pattern.Skip
		if s == nil || h < len(l.Result.Chosen) && l.Result.Chosen[h].Dense {
			continue
		}
		share, err := s.Log2(l.head(h).Values)
		if err != nil {
			return nil, err
		}
		out[h] = math.Exp2(share)
	}
	return out, nil
}

// kept is the pattern's meaning for what each head's lists cover.
func (l Launch) kept() (out []func(q, k int) bool, err error) {
	for h, chosen := range l.choices() {
		keep, err := l.head(h).means(chosen, l.In.End())
		if err != nil {
			return nil, err
		}
		out = append(out, keep)
	}
	return out, nil
}

// choices are what each head chose, [Batch*QHeads]. A choice that cannot matter, because the rest of the pattern keeps all of
// it, is not computed and counts as empty.
func (l Launch) choices() []runtime.Chosen {
	out := make([]runtime.Chosen, l.In.Batch*l.In.QHeads)
	for h := range out {
		if h < len(l.Result.Chosen) {
			out[h] = l.Result.Chosen[h]
		} else {
			out[h] = runtime.Chosen{Asked: &ir.Selection{QOffset: l.In.QOffset}, Kept: &ir.Selection{QOffset: l.In.QOffset}}
		}
		out[h].Asked, out[h].Kept = l.head(h).complete(out[h].Asked), l.head(h).complete(out[h].Kept)
	}
	return out
}

// complete returns s with an empty set for each choice that it has none of.
func (x Head) complete(s *ir.Selection) *ir.Selection {
	out := &ir.Selection{QOffset: s.QOffset, Sets: slices.Clone(s.Sets)}
	for _, d := range x.Pattern.Index {
		kind, _ := ir.IndexType(x.Pattern.Index, d.Name)
		chosen, ok := kind.Chosen()
		if _, err := s.Find(d.Name); ok && err != nil {
			out.Sets = append(out.Sets, ir.Selected{Name: d.Name, Kind: chosen})
		}
	}
	return out
}

// means is the pattern's meaning for a head: for what its lists keep, or for all that there is where the head fell back to dense
// attention. The last query lies before end.
func (x Head) means(chosen runtime.Chosen, end int) (func(q, k int) bool, error) {
	if chosen.Dense {
		return x.Pattern.Widest().EndingAt(end).Keeps(x.Values)
	}
	return x.Pattern.EndingAt(end).CoverWith(x.Values, chosen.Kept)
}

// judgeChoices compares what the data chose with float64; the report is nil if no head chose.
func (l Launch) judgeChoices() (*ChoiceReport, error) {
	c := ChoiceCase{In: l.In, Scale: l.Scale, Progress: l.Progress("checking choices")}
	for h := range l.In.QHeads {
		c.Indexes, c.Values = append(c.Indexes, l.head(h).Index), append(c.Values, l.head(h).Values)
		c.Parts = append(c.Parts, PartOf(l.head(h).Pattern, l.head(h).Values))
	}
	chose := false
	for _, head := range l.Result.Chosen {
		asked := head.Asked
		if len(asked.Sets) == 0 {
			asked = nil
		}
		chose = chose || asked != nil
		c.Asked = append(c.Asked, asked)
	}
	r, err := CompareChoices(c)
	if err != nil {
		return nil, err
	}
	if !r.OK() {
		err = failure.Bug(fmt.Errorf("the index stage chose wrongly: %s", r.Worst))
	}
	if !chose {
		r = nil
	}
	return r, err
}

// checkCover looks at some rows of every head: what was asked for is kept, and the schedule keeps what the pattern means.
func (l Launch) checkCover() error {
	for h, chosen := range l.choices() {
		asked, err := l.head(h).Pattern.EndingAt(l.In.End()).KeepsWith(l.head(h).Values, chosen.Asked)
		if err != nil {
			return failure.Bug(err)
		}
		means, err := l.head(h).means(chosen, l.In.End())
		if err != nil {
			return failure.Bug(err)
		}
		for _, i := range []int{0, l.In.SeqQ / 3, l.In.SeqQ - 1} {
			if i < 0 || i >= l.In.SeqQ {
				continue
			}
			if err := l.checkRow(h, i, asked, means); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkRow looks at row i of head h, counted over batches.
func (l Launch) checkRow(h, i int, asked, means func(q, k int) bool) error {
	row, err := l.Cover(h, &l.Result.Chosen[h], []int{i})
	if err != nil {
		return err
	}
	q := l.In.QOffset + i
	for k, kept := range row {
		if means(q, k) != (kept == 1) || asked(q, k) && kept == 0 {
			return failure.Bug(fmt.Errorf("the lists of batch %d, head %d keep key %d of row %d otherwise than the pattern means",
				h/l.In.QHeads, h%l.In.QHeads, k, i))
		}
	}
	return nil
}
