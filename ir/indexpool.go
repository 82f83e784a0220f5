package ir

import (
	"fmt"
	"math"
)

// Pool reduces blocks of BlockSize consecutive rows of q or k to one row. Type: pooled rows. The last block may be shorter.
type Pool struct {
	Of   Tensor
	With Reduction
}

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
	return fmt.Sprintf("pool %s %s", wordOf(reductionWords, int(x.With)), wordOf(tensorWords, int(x.Of)))
}

func (c *cursor) pool() Index {
	with := Reduction(c.oneOf(reductionWords))
	return Pool{Of: Tensor(c.oneOf(tensorWords)), With: with}
}

func (x Pool) typed(map[string]IndexKind) (IndexKind, error) {
	if x.Of > TensorK || x.With > ReduceMax {
		return 0, fmt.Errorf("a pool of the unknown tensor %d or reduction %d", x.Of, x.With)
	}
	return KindPooledQ + IndexKind(x.Of), nil
}

// pooled are pooled rows, one for each block.
type pooled [][]float64

func (x Pool) eval(e *indexEval) (any, error) {
	n := []int{TensorQ: e.sq, TensorK: e.sk}[x.Of]
	out := make(pooled, (n+BlockSize-1)/BlockSize)
	for b := range out {
		out[b] = e.poolRows(x, b*BlockSize, min(n, (b+1)*BlockSize))
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
