package ir

import (
	"fmt"
	"math"
	"slices"
)

// Pool reduces Rows consecutive rows of q or k to one, from row 0 on; the last ones may be fewer. Every block of BlockSize rows has the
// pooled row of the rows that it lies in, so that neighbours may share one. Type: pooled rows.
type Pool struct {
	Of   Tensor
	With Reduction
	Rows int // one of PoolRows
}

// PoolRows are the numbers of rows that a pool reduces to one, multiples of BlockSize.
var PoolRows = []int{BlockSize, 2 * BlockSize}

// Reduction is how a pool reduces a block.
type Reduction uint8

const (
	ReduceMean Reduction = iota
	ReduceMax
)

var (
	tensorWords    = []string{TensorQ: "q", TensorK: "k"}
	reductionWords = []string{ReduceMean: "mean", ReduceMax: "max"}
)

// Word is "mean_q".
func (x Pool) Word() string {
	return wordOf(reductionWords, int(x.With)) + "_" + wordOf(tensorWords, int(x.Of))
}
func (Pool) Operands() []string { return nil }

func (x Pool) text() string {
	text := fmt.Sprintf("pool %s %s", wordOf(reductionWords, int(x.With)), wordOf(tensorWords, int(x.Of)))
	if x.Rows != BlockSize {
		text += fmt.Sprintf(" over %d", x.Rows)
	}
	return text
}

func (c *cursor) pool() Index {
	with := Reduction(c.oneOf(reductionWords))
	x := Pool{Of: Tensor(c.oneOf(tensorWords)), With: with, Rows: BlockSize}
	if c.accept("over") {
		x.Rows = c.constant()
	}
	return x
}

func (x Pool) typed(map[string]IndexKind) (IndexKind, error) {
	if x.Of > TensorK || x.With > ReduceMax {
		return 0, fmt.Errorf("a pool of the unknown tensor %d or reduction %d", x.Of, x.With)
	}
	if !slices.Contains(PoolRows, x.Rows) {
		return 0, fmt.Errorf("a pool over %d rows, want one over any of %v", x.Rows, PoolRows)
	}
	return KindPooledQ + IndexKind(x.Of), nil
}

// pooled are pooled rows, one for each block.
type pooled [][]float64

func (x Pool) eval(e *indexEval) (any, error) {
	n := []int{TensorQ: e.sq, TensorK: e.sk}[x.Of]
	var out pooled
	for from := 0; from < n; from += x.Rows {
		end := min(n, from+x.Rows)
		row := e.poolRows(x, from, end)
		for range (end - from + BlockSize - 1) / BlockSize {
			out = append(out, row)
		}
	}
	return out, nil
}

// poolRows reduces the rows from..to-1 to one. The maximum ignores NaN, the mean does not.
func (e *indexEval) poolRows(x Pool, from, to int) []float64 {
	out := make([]float64, e.d)
	if x.With == ReduceMax {
		for i := range out {
			out[i] = math.Inf(-1)
		}
	}
	for row := from; row < to; row++ {
		for i := range out {
			switch v := e.element(x.Of, row, i); {
			case x.With == ReduceMean:
				out[i] += v
			case v > out[i]:
				out[i] = v
			}
		}
	}
	if x.With == ReduceMean {
		for i := range out {
			out[i] /= float64(to - from)
		}
	}
	return out
}
