package ir

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
)

// HeadInputs are what the index stage of one head sees: Q [Sq, D] and K [Sk, D], flat. Query row i is at position
// QOffset+i. Scale multiplies the logits of probes, not the scores of blocks.
type HeadInputs[F Float] struct {
	Q, K               []F
	Sq, Sk, D, QOffset int
	Scale              float64
}

// Selection is what the index stage chose for one head, one entry for each Select in the order of the definitions.
type Selection struct {
	QOffset int
	Sets    []Selected
}

// Selected is what one Select chose.
type Selected struct {
	Name    string
	Kind    ChosenKind
	Members []int   // columns or distances, ascending
	Blocks  [][]int // for ChosenBlocks: the key blocks of every row block, descending
}

// Find returns the entry called name.
func (s *Selection) Find(name string) (*Selected, error) {
	for i := range s.Sets {
		if s.Sets[i].Name == name {
			return &s.Sets[i], nil
		}
	}
	return nil, fmt.Errorf("the selection has no %q", name)
}

// EvalIndex computes the index stage of one head in float64. values holds every parameter, as CheckLaunch returns them;
// the definitions are verified. A logit that is NaN or +Inf counts as masked, so that it has the probability 0; a block
// score that is NaN counts as -Inf. Numbers of members are clamped to what is forced below and to the candidates above:
//
//	columns    the keys in [0, min(Sk, QOffset+Sq))
//	distances  [0, QOffset+Sq)
//	blocks     the key blocks that begin no later than the last row of the row block
func EvalIndex[F Float](defs []IndexDef, values map[string]int64, in HeadInputs[F]) (*Selection, error) {
	out, _, err := EvalIndexValues(defs, values, in)
	return out, err
}

func (in HeadInputs[F]) check() error {
	if min(in.Sq, in.Sk, in.QOffset) < 0 || in.D < 1 {
		return fmt.Errorf("lengths %d and %d, offset %d, head dim %d: want none negative and a positive head dim", in.Sq, in.Sk, in.QOffset, in.D)
	}
	if len(in.Q) != in.Sq*in.D || len(in.K) != in.Sk*in.D {
		return fmt.Errorf("q has %d and k %d elements, want %d and %d", len(in.Q), len(in.K), in.Sq*in.D, in.Sk*in.D)
	}
	return nil
}

type indexEval[F Float] struct {
	in      HeadInputs[F]
	values  map[string]int64
	results map[string]any // what each definition gave: scores, sums, pooled or blockScores
	out     *Selection
}

// The results of definitions. Scores are not stored: a row is computed when it is asked for, so that long heads fit.
type (
	scores struct {
		rows []int // query rows
		row  func(i int) []float64
	}
	sums struct {
		kind   ChosenKind // columns or distances
		values []float64
	}
	pooled      [][]float64 // by block
	blockScores [][]float64 // by row block: the scores of its candidates, or their shares
)

func (e *indexEval[F]) eval(d IndexDef) (any, error) {
	switch x := d.Value.(type) {
	case Probe:
		return e.probe(x)
	case Softmax:
		switch of := e.results[x.Of].(type) {
		case blockScores:
			return e.blockShares(of), nil
		case squares:
			return squares{of.step, of.rows, func(m int) []float64 { return softmax(of.row(m)) }}, nil
		}
		of, err := resultOf[scores](e.results, x.Of)
		return scores{of.rows, func(i int) []float64 { return softmax(of.row(i)) }}, err
	case Antidiagonals:
		return e.antidiagonals(x.Step), nil
	case Sum:
		if of, ok := e.results[x.Of].(squares); ok {
			return e.sumSquares(of), nil
		}
		of, err := resultOf[scores](e.results, x.Of)
		if err != nil {
			return nil, err
		}
		return e.sum(of, x.Over), nil
	case Pool:
		return e.pool(x), nil
	case BlockScores:
		return e.blockScores(x)
	case Select:
		return nil, e.choose(d.Name, x)
	default:
		return nil, fmt.Errorf("internal: no meaning for an index of kind %T", x)
	}
}

func resultOf[T any](results map[string]any, name string) (T, error) {
	x, ok := results[name].(T)
	if !ok {
		return x, fmt.Errorf("internal: %q is %T, which does not fit here", name, results[name])
	}
	return x, nil
}

func (e *indexEval[F]) probe(x Probe) (any, error) {
	s := scores{row: e.logits}
	switch {
	case x.Last != nil:
		n, err := evalAll(e.values, *x.Last)
		if err != nil {
			return nil, err
		}
		for i := max(0, e.in.Sq-n[0]); i < e.in.Sq; i++ {
			s.rows = append(s.rows, i)
		}
	case x.Stride != nil:
		n, err := evalAll(e.values, *x.Stride)
		if err != nil {
			return nil, err
		}
		for i := 0; i < e.in.Sq; i += max(1, n[0]) {
			s.rows = append(s.rows, i)
		}
	default:
		return nil, fmt.Errorf("internal: a probe without queries")
	}
	return s, nil
}

// logits are the scaled products of query row i with all keys it may see; those after it are left out.
func (e *indexEval[F]) logits(i int) []float64 {
	d := e.in.D
	out := make([]float64, min(e.in.Sk, e.in.QOffset+i+1))
	q := e.in.Q[i*d:][:d]
	inParallel(len(out), manyProducts, func(k int) {
		out[k] = e.in.Scale * dot(q, e.in.K[k*d:][:d])
		if math.IsNaN(out[k]) || math.IsInf(out[k], 1) {
			out[k] = math.Inf(-1)
		}
	})
	return out
}

// How many calls are worth a goroutine.
const (
	manyProducts = 2048 // of rows
	manySorts    = 64   // of all key blocks
)

// inParallel calls f for 0 <= i < n, at least so many by a goroutine; every call writes places of its own.
func inParallel(n, least int, f func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n/least)
	if workers < 2 {
		workers = 1
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := n * w / workers; i < n*(w+1)/workers; i++ {
				f(i)
			}
		})
	}
	wg.Wait()
}

// softmax of a row in place; a row that is masked everywhere gives zeros.
func softmax(row []float64) []float64 {
	highest, sum := math.Inf(-1), 0.0
	for _, x := range row {
		highest = max(highest, x)
	}
	if math.IsInf(highest, -1) {
		clear(row)
		return row
	}
	for i, x := range row {
		row[i] = math.Exp(x - highest)
		sum += row[i]
	}
	for i := range row {
		row[i] /= sum
	}
	return row
}

// sum adds the rows up in order, by key or by distance.
func (e *indexEval[F]) sum(of scores, over Axis) sums {
	last := e.in.QOffset + e.in.Sq
	out := sums{ChosenDistances, make([]float64, last)}
	if over == OverQueries {
		out = sums{ChosenColumns, make([]float64, min(e.in.Sk, last))}
	}
	for _, i := range of.rows {
		q := e.in.QOffset + i
		for k, p := range of.row(i) {
			if over == OverQueries {
				out.values[k] += p
			} else {
				out.values[q-k] += p
			}
		}
	}
	return out
}

func (e *indexEval[F]) pool(x Pool) pooled {
	data := e.in.Q
	if x.Of == TensorK {
		data = e.in.K
	}
	var out pooled
	for part := range slices.Chunk(data, BlockSize*e.in.D) {
		out = append(out, poolBlock(part, e.in.D, x.With))
	}
	return out
}

// poolBlock reduces rows of length d to one. The maximum ignores NaN, the mean does not.
func poolBlock[F Float](rows []F, d int, with Reduction) []float64 {
	out := make([]float64, d)
	if with == ReduceMax {
		for i := range out {
			out[i] = math.Inf(-1)
		}
	}
	for i, x := range rows {
		switch {
		case with == ReduceMean:
			out[i%d] += float64(x)
		case float64(x) > out[i%d]:
			out[i%d] = float64(x)
		}
	}
	if with == ReduceMean {
		for i := range out {
			out[i] /= float64(len(rows) / d)
		}
	}
	return out
}

func (e *indexEval[F]) blockScores(x BlockScores) (any, error) {
	q, err := resultOf[pooled](e.results, x.Q)
	if err != nil {
		return nil, err
	}
	k, err := resultOf[pooled](e.results, x.K)
	if err != nil {
		return nil, err
	}
	out := make(blockScores, len(q))
	for t := range q {
		last := e.in.QOffset + min(BlockSize*(t+1), e.in.Sq) - 1
		out[t] = make([]float64, min(len(k), last/BlockSize+1))
		inParallel(len(out[t]), manyProducts, func(b int) {
			if out[t][b] = dot(q[t], k[b]); math.IsNaN(out[t][b]) {
				out[t][b] = math.Inf(-1)
			}
		})
	}
	return out, nil
}

// blockShares is the softmax of each row block's scaled scores.
func (e *indexEval[F]) blockShares(of blockScores) blockScores {
	out := make(blockScores, len(of))
	for t, row := range of {
		out[t] = make([]float64, len(row))
		for b, x := range row {
			if out[t][b] = e.in.Scale * x; math.IsInf(out[t][b], 1) {
				out[t][b] = math.Inf(-1)
			}
		}
		softmax(out[t])
	}
	return out
}

// choose evaluates a Select and appends what it chose.
func (e *indexEval[F]) choose(name string, x Select) error {
	n, err := evalAll(e.values, x.N, x.First, x.Last)
	if err != nil {
		return err
	}
	c := choice{x.Rule, n[0], n[1], n[2], math.MaxInt}
	if x.Most != nil {
		most, err := evalAll(e.values, *x.Most)
		if err != nil {
			return err
		}
		c.most = most[0]
	}
	s := Selected{Name: name}
	switch of := e.results[x.Of].(type) {
	case sums:
		s.Kind, s.Members = of.kind, c.from(of.values)
	case blockScores:
		s.Kind = ChosenBlocks
		s.Blocks = make([][]int, len(of))
		inParallel(len(of), manySorts, func(t int) {
			s.Blocks[t] = c.from(of[t])
			slices.Reverse(s.Blocks[t])
		})
	default:
		return fmt.Errorf("internal: a choice from %T", of)
	}
	e.out.Sets = append(e.out.Sets, s)
	return nil
}

// choice is a Select with numbers for its parameters.
type choice struct {
	rule                 Rule
	n, first, last, most int
}

// Units of the numbers of a Select.
const (
	massUnit      = 1e3
	thresholdUnit = 1e6
)

// from chooses among values by their index and returns the indices in ascending order.
func (c choice) from(values []float64) []int {
	n := len(values)
	first, last := min(c.first, n), max(n-c.last, 0)
	forced := func(i int) bool { return i < first || i >= last }
	var out, free []int
	for i := range values {
		if forced(i) {
			out = append(out, i)
		} else {
			free = append(free, i)
		}
	}
	slices.SortStableFunc(free, func(a, b int) int { return cmp.Compare(values[b], values[a]) })
	out = append(out, free[:min(c.count(values, out, free), max(c.most-len(out), 0))]...)
	slices.Sort(out)
	return out
}

// count is how many of free, sorted by falling value, join those that are forced.
func (c choice) count(values []float64, forced, free []int) int {
	switch c.rule {
	case Top:
		return min(max(c.n-len(forced), 0), len(free))
	case TopP:
		return countMass(values, forced, free, float64(c.n)/massUnit)
	default:
		n := 0
		for n < len(free) && values[free[n]] > float64(c.n)/thresholdUnit {
			n++
		}
		return n
	}
}

// countMass is how many of free must join forced to hold the share of the sum of all values. What has no mass never joins.
func countMass(values []float64, forced, free []int, share float64) int {
	total, have := 0.0, 0.0
	for _, x := range values {
		total += x
	}
	for _, i := range forced {
		have += values[i]
	}
	n := 0
	for n < len(free) && have < share*total && values[free[n]] > 0 {
		have += values[free[n]]
		n++
	}
	return n
}
