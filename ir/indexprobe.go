package ir

import (
	"errors"
	"fmt"
	"math"
)

// Probe is the logits q*k/sqrt(head dim) of some queries with all keys, causal: -inf where the key comes after the
// query. The queries are the Last ones (fewer if there are not that many), or every Stride-th one when Last is nil.
// Type: scores [queries, keys].
type Probe struct {
	Last   *Poly
	Stride *Poly
}

func (Probe) Word() string       { return "scores" }
func (Probe) Operands() []string { return nil }

func (x Probe) text() string {
	switch {
	case x.Last != nil:
		return fmt.Sprintf("probe last %s", *x.Last)
	case x.Stride != nil:
		return fmt.Sprintf("probe stride %s", *x.Stride)
	}
	return "probe"
}

func (c *cursor) probe() Index {
	if c.accept("stride") {
		p := c.poly()
		return Probe{Stride: &p}
	}
	c.expect("last")
	p := c.poly()
	return Probe{Last: &p}
}

func (x Probe) typed(map[string]IndexKind) (IndexKind, error) {
	if (x.Last == nil) == (x.Stride == nil) {
		return 0, errors.New("a probe has either a number of last queries or a stride")
	}
	return KindScores, nil
}

func (x Probe) mapPolys(f func(Poly) Poly) Index {
	return Probe{mapEnd(x.Last, f), mapEnd(x.Stride, f)}
}

func (x Probe) numbers() indexNumbers {
	out := indexNumbers{least: 1, who: "the probe's "}
	for _, p := range []*Poly{x.Last, x.Stride} {
		if p != nil {
			out.others = append(out.others, *p)
		}
	}
	return out
}

// scores are the logits of some queries, or their probabilities. They are not stored: a row is computed when it is asked for, so that long
// heads fit.
type scores struct {
	rows []int // query rows
	row  func(i int) []float64
}

func (x Probe) eval(e *indexEval) (any, error) {
	s := scores{row: e.logits}
	switch {
	case x.Last != nil:
		n, err := evalAll(e.values, *x.Last)
		if err != nil {
			return nil, err
		}
		for i := max(0, e.sq-n[0]); i < e.sq; i++ {
			s.rows = append(s.rows, i)
		}
	case x.Stride != nil:
		n, err := evalAll(e.values, *x.Stride)
		if err != nil {
			return nil, err
		}
		for i := 0; i < e.sq; i += max(1, n[0]) {
			s.rows = append(s.rows, i)
		}
	default:
		return nil, fmt.Errorf("internal: a probe without queries")
	}
	return s, nil
}

// logits are the scaled products of query row i with all keys that it may see.
func (e *indexEval) logits(i int) []float64 {
	out := make([]float64, min(e.sk, e.offset+i+1))
	inParallel(len(out), manyProducts, func(k int) {
		out[k] = e.scale * e.product(i, k)
		if math.IsNaN(out[k]) || math.IsInf(out[k], 1) {
			out[k] = math.Inf(-1)
		}
	})
	return out
}
