package ir

import (
	"fmt"
	"math"
)

// Antidiagonals cuts queries and keys into squares of Step by Step, from row 0 and key 0 on: the score of a square is the
// mean of the logits q*k/sqrt(head dim) on its antidiagonal, which meets every row and every column of it once
// (XAttention, arXiv 2503.16428). Rows and keys past the end count as 0; a square counts if it begins no later than its
// last query. Type: scores of squares [rows of squares, columns of squares]. Step is a power of 2 from 2 to BlockSize.
type Antidiagonals struct{ Step int }

func (Antidiagonals) Word() string       { return "squares" }
func (Antidiagonals) Operands() []string { return nil }
func (x Antidiagonals) text() string     { return fmt.Sprintf("antidiagonals %d", x.Step) }
func (c *cursor) antidiagonals() Index   { return Antidiagonals{c.constant()} }

func (x Antidiagonals) typed(map[string]IndexKind) (IndexKind, error) {
	if x.Step < 2 || x.Step > BlockSize || x.Step&(x.Step-1) != 0 {
		return 0, fmt.Errorf("antidiagonals of squares of %d by %d, want a power of 2 from 2 to %d", x.Step, x.Step, BlockSize)
	}
	return KindSquareScores, nil
}

// squares are the scores or probabilities of squares of step by step. Rows are computed when they are asked for, so that long
// heads fit.
type squares struct {
	step int
	rows int
	row  func(m int) []float64 // the squares that count
}

func (x Antidiagonals) eval(e *indexEval) (any, error) {
	step := x.Step
	return squares{step, (e.sq + step - 1) / step, func(m int) []float64 {
		last := e.offset + min(step*(m+1), e.sq) - 1
		out := make([]float64, min((e.sk+step-1)/step, last/step+1))
		inParallel(len(out), manyProducts, func(n int) {
			if out[n] = e.antidiagonal(step, m, n); math.IsNaN(out[n]) || math.IsInf(out[n], 1) {
				out[n] = math.Inf(-1)
			}
		})
		return out
	}}, nil
}

// antidiagonal is the mean of a square's logits on its antidiagonal.
func (e *indexEval) antidiagonal(step, m, n int) float64 {
	sum := 0.0
	for i := range step {
		if row, key := step*m+i, step*n+step-1-i; row < e.sq && key < e.sk {
			sum += e.product(row, key)
		}
	}
	return e.scale * sum / float64(step)
}

// sumSquares is, for every row block, the mean of its rows of squares, added up by key block.
func (e *indexEval) sumSquares(of squares) blockScores {
	out := make(blockScores, (e.sq+BlockSize-1)/BlockSize)
	per := BlockSize / of.step
	for t := range out {
		last := e.offset + min(BlockSize*(t+1), e.sq) - 1
		out[t] = make([]float64, min((e.sk+BlockSize-1)/BlockSize, last/BlockSize+1))
		end := min((t+1)*per, of.rows)
		for m := t * per; m < end; m++ {
			for n, p := range of.row(m) {
				out[t][n/per] += p / float64(end-t*per)
			}
		}
	}
	return out
}
