package ir

import "math"

// squares are the scores or probabilities of squares of step by step. Rows are computed when they are asked for, so that long
// heads fit.
type squares struct {
	step int
	rows int
	row  func(m int) []float64 // the squares that count
}

func (e *indexEval[F]) antidiagonals(step int) squares {
	return squares{step, (e.in.Sq + step - 1) / step, func(m int) []float64 {
		last := e.in.QOffset + min(step*(m+1), e.in.Sq) - 1
		out := make([]float64, min((e.in.Sk+step-1)/step, last/step+1))
		inParallel(len(out), manyProducts, func(n int) {
			if out[n] = e.antidiagonal(step, m, n); math.IsNaN(out[n]) || math.IsInf(out[n], 1) {
				out[n] = math.Inf(-1)
			}
		})
		return out
	}}
}

// antidiagonal is the mean of a square's logits on its antidiagonal.
func (e *indexEval[F]) antidiagonal(step, m, n int) float64 {
	d, sum := e.in.D, 0.0
	for i := range step {
		if row, key := step*m+i, step*n+step-1-i; row < e.in.Sq && key < e.in.Sk {
			sum += dot(e.in.Q[row*d:][:d], e.in.K[key*d:][:d])
		}
	}
	return e.in.Scale * sum / float64(step)
}

// sumSquares is, for every row block, the mean of its rows of squares, added up by key block.
func (e *indexEval[F]) sumSquares(of squares) blockScores {
	out := make(blockScores, (e.in.Sq+BlockSize-1)/BlockSize)
	per := BlockSize / of.step
	for t := range out {
		last := e.in.QOffset + min(BlockSize*(t+1), e.in.Sq) - 1
		out[t] = make([]float64, min((e.in.Sk+BlockSize-1)/BlockSize, last/BlockSize+1))
		end := min((t+1)*per, of.rows)
		for m := t * per; m < end; m++ {
			for n, p := range of.row(m) {
				out[t][n/per] += p / float64(end-t*per)
			}
		}
	}
	return out
}
