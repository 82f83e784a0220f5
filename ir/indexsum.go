package ir

import "fmt"

// Sum adds up probabilities: over queries (type: values over columns), over diagonals (values over distances), over runs of diagonals
// (values over runs of distances), and probabilities of squares over blocks, as the mean over the rows of squares of a query block
// (shares of blocks).
type Sum struct {
	Of   string
	Over Axis
	Run  Poly // of OverRuns: the distances of a run, see CheckRun. It depends on const parameters alone
}

// Axis is what a sum runs over.
type Axis uint8

const (
	OverQueries Axis = iota
	OverDiagonals
	OverBlocks
	OverRuns
)

var axisWords = []string{OverQueries: "queries", OverDiagonals: "diagonals", OverBlocks: "blocks", OverRuns: "runs"}

func (Sum) Word() string         { return "sum" }
func (x Sum) Operands() []string { return []string{x.Of} }
func (x Sum) text() string {
	text := fmt.Sprintf("sum %s over %s", x.Of, wordOf(axisWords, int(x.Over)))
	if x.Over == OverRuns {
		text += " " + x.Run.String()
	}
	return text
}

func (c *cursor) sum() Index {
	x := Sum{Of: c.name()}
	c.expect("over")
	if x.Over = Axis(c.oneOf(axisWords)); x.Over == OverRuns {
		x.Run = c.poly()
	}
	return x
}

// summed is what a sum over each axis is of, and what it gives.
var summed = []struct{ of, gives IndexKind }{
	OverQueries:   {KindProbabilities, KindColumnValues},
	OverDiagonals: {KindProbabilities, KindDistanceValues},
	OverBlocks:    {KindSquareProbabilities, KindBlockShares},
	OverRuns:      {KindProbabilities, KindRunValues},
}

func (x Sum) typed(kinds map[string]IndexKind) (IndexKind, error) {
	if int(x.Over) >= len(summed) {
		return 0, fmt.Errorf("a sum over the unknown axis %d", x.Over)
	}
	if x.Over != OverRuns && !x.Run.Equal(Poly{}) {
		return 0, fmt.Errorf("a sum over %s has runs of %s", axisWords[x.Over], x.Run)
	}
	return summed[x.Over].gives, wantKind(kinds, x.Of, summed[x.Over].of)
}

func (x Sum) mapPolys(f func(Poly) Poly) Index {
	if x.Over == OverRuns {
		x.Run = f(x.Run)
	}
	return x
}

func (x Sum) numbers() indexNumbers {
	if x.Over != OverRuns {
		return indexNumbers{}
	}
	return indexNumbers{runs: []Poly{x.Run}, who: "the size of runs "}
}

// sums are values over columns, over distances, or over runs of neighbouring distances.
type sums struct {
	kind   ChosenKind
	values []float64
	run    int // distances that a value is of, fewer of the last one; 1 of columns
	n      int // columns or distances
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
	if x.Over != OverRuns {
		return e.sum(of, x.Over), nil
	}
	run, err := x.Run.Eval(e.values)
	if err == nil {
		err = CheckRun(run)
	}
	if err != nil {
		return nil, err
	}
	return e.sum(of, OverDiagonals).inRuns(int(run)), nil
}

// sum adds the rows up in order, by key or by distance.
func (e *indexEval) sum(of scores, over Axis) sums {
	last := e.offset + e.sq
	out := sums{ChosenDistances, make([]float64, last), 1, last}
	if over == OverQueries {
		n := min(e.sk, last)
		out = sums{ChosenColumns, make([]float64, n), 1, n}
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
