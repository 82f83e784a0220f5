// Package selfcheck compares what a kernel computed with the float64 reference of the pattern.
package selfcheck

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
)

// The errors a correct kernel stays within: outputs are rounded to 16 bits, P is rounded before the second product.
const (
	MaxFrobenius = 4e-3 // relative error of the whole output
	MaxRow       = 2e-2 // relative error of any row
	MaxLSE       = 1e-3 // absolute error of any log-sum-exp
)

// Case is one finished attention call.
type Case struct {
	In    *qkv.Input
	Keep  func(q, k int) bool   // the pattern's meaning, as ir.Pattern.Keeps returns it
	Keeps []func(q, k int) bool // the same for each head, [Batch * QHeads], where data decides; replaces Keep
	Scale float64
	O     []byte    // as the kernel wrote it, like In.Q
	LSE   []float32 // [Batch, QHeads, SeqQ]; nil when it was not wanted

	Progress func(done, total int) // query heads that are compared; nil if nobody watches
}

// Report holds the errors found. NaN anywhere makes the error it belongs to NaN, which no limit admits.
type Report struct {
	Rows, Of       int // query rows compared in every head, and how many there are
	Frobenius, Row float64
	LSE            float64
	WorstRow       [3]int // batch, head and row of Row
	HasLSE         bool
}

// OK says whether all errors are within their limits.
func (r *Report) OK() bool {
	return r.Frobenius <= MaxFrobenius && r.Row <= MaxRow && (!r.HasLSE || r.LSE <= MaxLSE)
}

// String is the report in one line.
func (r *Report) String() string {
	rows := fmt.Sprintf("all %d rows", r.Of)
	if r.Rows < r.Of {
		rows = fmt.Sprintf("%d sampled rows of %d", r.Rows, r.Of)
	}
	s := fmt.Sprintf("%s of every head against float64: relative error %.2e (limit %.0e), worst row %.2e (limit %.0e)",
		rows, r.Frobenius, MaxFrobenius, r.Row, MaxRow)
	if r.HasLSE {
		s += fmt.Sprintf(", lse %.2e (limit %.0e)", r.LSE, MaxLSE)
	}
	return s
}

// maxWork bounds the multiplications of the reference: some seconds on two cores.
const maxWork = 8e9

// Compare computes the reference of all rows, or of a sample where that takes too long, and the errors against it.
func Compare(c Case) (*Report, error) {
	rows := sample(c.In.SeqQ, float64(c.In.Batch*c.In.QHeads)*float64(c.In.SeqK)*float64(2*c.In.HeadDim))
	t := tally{Report: Report{Rows: len(rows), Of: c.In.SeqQ, HasLSE: c.LSE != nil}}
	for head := range c.In.Batch * c.In.KVHeads {
		if err := t.head(c, head, rows); err != nil {
			return nil, err
		}
	}
	return t.finish(), nil
}

// sample lists the rows to compare: all, or the first, the last and random ones. It is the same for the same sizes.
func sample(n int, workPerRow float64) []int {
	most := max(4, int(min(maxWork/max(workPerRow, 1), float64(n))))
	if n <= most {
		most = n
	}
	rows := make([]int, 0, most)
	if most == n {
		for i := range n {
			rows = append(rows, i)
		}
		return rows
	}
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	rows = append(rows, 0, n-1)
	for len(rows) < most {
		rows = append(rows, rng.IntN(n))
	}
	slices.Sort(rows)
	return slices.Compact(rows)
}

// tally adds up squared errors.
type tally struct {
	Report
	off, size float64
}

// head compares the query heads that share one kv head (counted over batches): so only one head's keys and values are
// held in float32.
func (t *tally) head(c Case, kv int, rows []int) error {
	in := c.In
	group := in.QHeads / in.KVHeads
	ref := ir.Inputs[float32]{B: 1, Hq: 1, Hk: 1, Sq: in.SeqQ, Sk: in.SeqK, D: in.HeadDim, QOffset: in.QOffset, Scale: c.Scale, Keep: c.Keep}
	var q, o []float32
	for _, part := range []struct {
		to     *[]float32
		from   []byte
		length int
	}{{&q, in.Q, group * in.SeqQ}, {&ref.K, in.K, in.SeqK}, {&ref.V, in.V, in.SeqK}, {&o, c.O, group * in.SeqQ}} {
		n := part.length * in.HeadDim
		*part.to = make([]float32, n)
		if err := in.Format.Decode(*part.to, part.from[2*n*kv:][:2*n]); err != nil {
			return err
		}
	}
	size := in.SeqQ * in.HeadDim
	for i := range group {
		h := kv*group + i
		if ref.Q = q[i*size:][:size]; c.Keeps != nil {
			ref.Keep = c.Keeps[h]
		}
		if err := t.queryHead(c, ref, h, o[i*size:][:size], rows); err != nil {
			return err
		}
		if c.Progress != nil {
			c.Progress(h+1, in.Batch*in.QHeads)
		}
	}
	return nil
}

// queryHead compares query head h, counted over batches, whose output is o.
func (t *tally) queryHead(c Case, ref ir.Inputs[float32], h int, o []float32, rows []int) error {
	want, lse, err := ir.Reference(ref, rows)
	if err != nil {
		return fmt.Errorf("internal: %w", err)
	}
	in := c.In
	for i, row := range rows {
		t.row(o[row*in.HeadDim:][:in.HeadDim], want[i*in.HeadDim:][:in.HeadDim], [3]int{h / in.QHeads, h % in.QHeads, row})
		if c.LSE != nil {
			t.lse(float64(c.LSE[h*in.SeqQ+row]), lse[i])
		}
	}
	return nil
}

// row adds the errors of one output row. A row that should be 0 must be exactly 0.
func (t *tally) row(got []float32, want []float64, at [3]int) {
	off, size := 0.0, 0.0
	for i, w := range want {
		d := float64(got[i]) - w
		off, size = off+d*d, size+w*w
	}
	t.off, t.size = t.off+off, t.size+size
	if e := relative(off, size); worse(e, t.Row) {
		t.Row, t.WorstRow = e, at
	}
}

// lse takes the larger error; equal infinities are equal.
func (t *tally) lse(got, want float64) {
	if got == want {
		return
	}
	if e := math.Abs(got - want); worse(e, t.LSE) {
		t.LSE = e
	}
}

// worse says whether error e replaces old: a NaN replaces any number and stays.
func worse(e, old float64) bool { return !math.IsNaN(old) && !(e <= old) }

func (t *tally) finish() *Report {
	t.Frobenius = relative(t.off, t.size)
	return &t.Report
}

// relative is the ratio of norms given their squares.
func relative(off, size float64) float64 {
	switch {
	case off == 0:
		return 0
	case size == 0:
		return math.Inf(1)
	}
	return math.Sqrt(off / size)
}
