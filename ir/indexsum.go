package ir

import "fmt"

// Sum adds up probabilities: over queries (type: values over columns), over diagonals (values over distances), and probabilities of
// squares over blocks, as the mean over the rows of squares of a query block (shares of blocks).
type Sum struct {
	Of   string
	Over Axis
}

// Axis is what a sum runs over.
type Axis uint8

const (
	OverQueries Axis = iota
	OverDiagonals
	OverBlocks
)

var axisWords = []string{OverQueries: "queries", OverDiagonals: "diagonals", OverBlocks: "blocks"}

func (Sum) Word() string         { return "sum" }
func (x Sum) Operands() []string { return []string{x.Of} }
func (x Sum) text() string {
	return fmt.Sprintf("sum %s over %s", x.Of, wordOf(axisWords, int(x.Over)))
}

func (c *cursor) sum() Index {
	of := c.name()
	c.expect("over")
	return Sum{of, Axis(c.oneOf(axisWords))}
}

// summed is what a sum over each axis is of, and what it gives.
var summed = []struct{ of, gives IndexKind }{
	OverQueries:   {KindProbabilities, KindColumnValues},
	OverDiagonals: {KindProbabilities, KindDistanceValues},
	OverBlocks:    {KindSquareProbabilities, KindBlockShares},
}

func (x Sum) typed(kinds map[string]IndexKind) (IndexKind, error) {
	if int(x.Over) >= len(summed) {
		return 0, fmt.Errorf("a sum over the unknown axis %d", x.Over)
	}
	return summed[x.Over].gives, wantKind(kinds, x.Of, summed[x.Over].of)
}

// sums are values over columns or distances.
type sums struct {
	kind   ChosenKind
	values []float64
}

func (x Sum) eval(e *indexEval) (any, error) {
	if x.Over == OverBlocks {
		of, err := resultOf[squares](e, x.Of)
		if err != nil {
			return nil, err
		}
		return e.sumSquares(of), nil
	}
	of, err := resultOf[scores](e, x.Of)
	if err != nil {
		return nil, err
	}
	return e.sum(of, x.Over), nil
}

// sum adds the rows up in order, by key or by distance.
func (e *indexEval) sum(of scores, over Axis) sums {
	last := e.offset + e.sq
	out := sums{ChosenDistances, make([]float64, last)}
	if over == OverQueries {
		out = sums{ChosenColumns, make([]float64, min(e.sk, last))}
	}
	for _, i := range of.rows {
		q := e.offset + i
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
