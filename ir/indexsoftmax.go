package ir

import (
	"fmt"
	"math"
)

// Softmax normalises each row of scores over its keys, in float32 or better. Type: probabilities. Of block scores it
// normalises the scaled scores of each query block over its key blocks. Type: shares of blocks. Of scores of squares it
// normalises each row of squares. Type: probabilities of squares.
type Softmax struct{ Of string }

func (Softmax) Word() string         { return "softmax" }
func (x Softmax) Operands() []string { return []string{x.Of} }
func (x Softmax) text() string       { return "softmax " + x.Of }
func (c *cursor) softmax() Index     { return Softmax{c.name()} }

// normalised is what the softmax of a kind of scores gives.
var normalised = map[IndexKind]IndexKind{
	KindScores: KindProbabilities, KindBlockValues: KindBlockShares, KindSquareScores: KindSquareProbabilities,
}

func (x Softmax) typed(kinds map[string]IndexKind) (IndexKind, error) {
	of, known := kinds[x.Of]
	if gives, ok := normalised[of]; known && ok {
		return gives, nil
	}
	return KindProbabilities, wantKind(kinds, x.Of, KindScores)
}

// normalizable are results that have a softmax.
type normalizable interface{ softmax(e *indexEval) any }

func (x Softmax) eval(e *indexEval) (any, error) {
	of, ok := e.results[x.Of].(normalizable)
	if !ok {
		return nil, fmt.Errorf("internal: %q is %T, which has no softmax", x.Of, e.results[x.Of])
	}
	return of.softmax(e), nil
}

func (s scores) softmax(*indexEval) any {
	return scores{s.rows, func(i int) []float64 { return softmax(s.row(i)) }}
}

func (s squares) softmax(*indexEval) any {
	return squares{s.step, s.rows, func(m int) []float64 { return softmax(s.row(m)) }}
}

// softmax is the softmax of each row block's scaled scores.
func (s blockScores) softmax(e *indexEval) any {
	out := make(blockScores, len(s))
	for t, row := range s {
		out[t] = make([]float64, len(row))
		for b, x := range row {
			if out[t][b] = e.scale * x; math.IsInf(out[t][b], 1) {
				out[t][b] = math.Inf(-1)
			}
		}
		softmax(out[t])
	}
	return out
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
