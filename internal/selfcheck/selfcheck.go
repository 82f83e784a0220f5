// Package selfcheck compares what a kernel computed with the float64 reference of the pattern.
package selfcheck

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
)

// Case is one finished attention call.
type Case struct {
	In    *qkv.Input
	Keep  func(q, k int) bool   // the pattern's meaning, as ir.Pattern.Keeps returns it
	Keeps []func(q, k int) bool // the same for each head, [Batch * QHeads], where data decides; replaces Keep
	Pool  int                   // keys of the means that stand for what is dropped, as ir.Pattern says; 0: nothing stands for it
	Pools []int                 // the same for each head, where they differ; replaces Pool
	Skips []float64             // the share of the skip of each head, [Batch * QHeads], 0 without; nil: none has one
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
	WorstRow       [3]int // batch, head and row of the error that exceeds its limit by the largest factor, or comes closest to it
	HasLSE         bool
	Limits         Limits
	Doubtful       int         // rows that are within the limits only if errors count from the range that float32 and skips leave open
	Skips          bool        // whether heads have skips
	Unknown        int         // rows, of all heads, whose logits float32 cannot hold: they are not compared
	Undefined      int         // elements of compared rows that are not compared, because the reference is not finite there
	NonFinite      []NonFinite // in the input
}

// OK says whether all errors are within their limits.
func (r *Report) OK() bool {
	return r.Frobenius <= r.Limits.Frobenius && r.Row <= r.Limits.Row && (!r.HasLSE || r.LSE <= r.Limits.LSE)
}

// String is the report in one line.
func (r *Report) String() string {
	rows := fmt.Sprintf("all %d rows", r.Of)
	if r.Rows < r.Of {
		rows = fmt.Sprintf("%d sampled rows of %d", r.Rows, r.Of)
	}
	s := fmt.Sprintf("%s of every head against float64: relative error %.2e (limit %.0e), worst row %.2e (limit %.0e)",
		rows, r.Frobenius, r.Limits.Frobenius, r.Row, r.Limits.Row)
	if r.HasLSE {
		s += fmt.Sprintf(", lse %.2e (limit %.0e)", r.LSE, r.Limits.LSE)
	}
	if r.Doubtful > 0 {
		s += fmt.Sprintf("; errors of %d rows count from what %s", r.Doubtful, r.open())
	}
	if r.Unknown > 0 {
		s += fmt.Sprintf("; %d rows not compared: their products q.k are beyond float32", r.Unknown)
	}
	return s + r.nonFinite()
}

// open says what doubtful rows are judged by.
func (r *Report) open() string {
	if r.Skips {
		return "the skip may leave out of them"
	}
	return "float32 leaves open of their logits"
}

// maxWork bounds the multiplications of the reference: some seconds on two cores.
const maxWork = 8e9

// Compare computes the reference of all rows, or of a sample where that takes too long, and the errors against it. Rows beyond the
// limit of a row are judged by what float32 leaves open of them; where only the error of the whole output is beyond its limit, so
// are all rows beyond the limit of the whole.
func Compare(c Case) (*Report, error) {
	l := LimitsOf(c.In.Format)
	t, err := c.tally(l.Row)
	if err == nil && t.Frobenius > l.Frobenius && t.Row <= l.Row {
		t, err = c.tally(l.Frobenius)
	}
	if err != nil {
		return nil, err
	}
	t.NonFinite, err = findNonFinite(c.In)
	return &t.Report, err
}

// tally compares with rows judged again whose relative error is above again.
func (c Case) tally(again float64) (*tally, error) {
	rows := sample(c.In.SeqQ, float64(c.In.Batch*c.In.QHeads)*float64(c.In.SeqK)*float64(2*c.In.HeadDim))
	t := &tally{Report: Report{Rows: len(rows), Of: c.In.SeqQ, HasLSE: c.LSE != nil, Skips: c.Skips != nil, Limits: LimitsOf(c.In.Format)}, again: again}
	for head := range c.In.Batch * c.In.KVHeads {
		if err := t.head(c, head, rows); err != nil {
			return nil, err
		}
	}
	t.Frobenius = relative(t.off, t.size)
	return t, nil
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
	again     float64 // relative error of a row above which it is judged by what float32 leaves open
	off, size float64
	worst     float64 // error of WorstRow, in limits
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
		if err := half.Decode(in.Format, *part.to, part.from[2*n*kv:][:2*n]); err != nil {
			return err
		}
	}
	size := in.SeqQ * in.HeadDim
	for i := range group {
		h := kv*group + i
		if ref.Q = q[i*size:][:size]; c.Keeps != nil {
			ref.Keep = c.Keeps[h]
		}
		ref.Dropped = c.dropped(h, ref.Keep)
		if err := t.queryHead(c, ref, h, o[i*size:][:size], rows); err != nil {
			return err
		}
		if c.Progress != nil {
			c.Progress(h+1, in.Batch*in.QHeads)
		}
	}
	return nil
}

// dropped are the means of head h, given the pairs that it keeps, in the type in which kernels store them; nil if it has none.
func (c Case) dropped(h int, keep func(q, k int) bool) *ir.Dropped {
	pool := c.Pool
	if c.Pools != nil {
		pool = c.Pools[h]
	}
	if pool == 0 {
		return nil
	}
	shape := ir.Shape{Sq: c.In.SeqQ, Sk: c.In.SeqK, QOffset: c.In.QOffset}
	return &ir.Dropped{Pool: pool, Keys: ir.DroppedBy(pool, keep, shape), Round: half.Rounding(c.In.Format)}
}

// queryHead compares query head h, counted over batches, whose output is o.
func (t *tally) queryHead(c Case, ref ir.Inputs[float32], h int, o []float32, rows []int) error {
	want, lse, err := ir.Reference(ref, rows)
	if err != nil {
		return fmt.Errorf("internal: %w", err)
	}
	in, spoiled := c.In, nonFiniteValues(ref)
	for i, row := range rows {
		x := outcome{ref: ref, tiny: t.Limits.tiny, row: row, at: [3]int{h / in.QHeads, h % in.QHeads, row}}
		x.got, x.want = o[row*in.HeadDim:][:in.HeadDim], want[i*in.HeadDim:][:in.HeadDim]
		if c.Skips != nil {
			x.share = c.Skips[h]
		}
		if x.lse = lse[i]; c.LSE != nil {
			x.gotLSE = float64(c.LSE[h*in.SeqQ+row])
		}
		spoiled.spoil(x)
		t.row(x)
	}
	return nil
}

// outcome is the result of one row of one head beside the reference, which is NaN in elements that are not to be compared.
type outcome struct {
	ref         ir.Inputs[float32] // of this head
	tiny        float64            // of the type of the output
	share       float64            // of the head's skip, 0 without
	row         int
	at          [3]int // batch, head and row
	got         []float32
	want        []float64
	gotLSE, lse float64
}

// row adds the errors of one row.
func (t *tally) row(x outcome) {
	off, size, undefined := distance(x.got, x.want, x.want)
	e, lse := relative(off, size), t.lseError(x.gotLSE, x.lse, x.lse)
	if !t.settled(e, lse) {
		d, known := x.doubt()
		if !known {
			t.Unknown++
			return
		}
		off, size, _ = distance(x.got, d.low, d.high)
		if e, lse = relative(off, size), t.lseError(x.gotLSE, d.lowLSE, d.highLSE); t.settled(e, lse) {
			t.Doubtful++
		}
	}
	t.Undefined += undefined
	t.off, t.size = t.off+off, t.size+size
	if excess := max(e/t.Limits.Row, lse/t.Limits.LSE); worse(excess, t.worst) {
		t.worst, t.WorstRow = excess, x.at
	}
	if worse(e, t.Row) {
		t.Row = e
	}
	if worse(lse, t.LSE) {
		t.LSE = lse
	}
}

// settled says whether errors of a row need no second look.
func (t *tally) settled(e, lse float64) bool { return e <= t.again && lse <= t.Limits.LSE }

// distance is the squared distance of a row from a range, and the squared size of the nearest row in the range. Elements without a
// finite range count as undefined. A row that should be 0 must be exactly 0.
func distance(got []float32, low, high []float64) (off, size float64, undefined int) {
	for i, x := range got {
		if !finite(low[i]) || !finite(high[i]) {
			undefined++
			continue
		}
		near := max(low[i], min(high[i], float64(x))) // NaN stays NaN
		off, size = off+(float64(x)-near)*(float64(x)-near), size+near*near
	}
	return off, size, undefined
}

// lseError is the distance of a log-sum-exp from its range; equal infinities are equal.
func (t *tally) lseError(got, low, high float64) float64 {
	if !t.HasLSE || math.IsNaN(low) || got == low || low <= got && got <= high {
		return 0
	}
	return math.Abs(got - max(low, min(high, got)))
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// worse says whether error e replaces old: a NaN replaces any number and stays.
func worse(e, old float64) bool { return !math.IsNaN(old) && !(e <= old) }

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
