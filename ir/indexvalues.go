package ir

import "fmt"

// IndexValues are the values that a Select chose from: one list for columns and distances, by key or distance; for blocks one
// list a row block, by key block.
type IndexValues [][]float64

// EvalIndexValues is EvalIndex, with the values behind every choice under the name of its Select: what tells a tie from a
// mistake.
func EvalIndexValues[F Float](defs []IndexDef, values map[string]int64, in HeadInputs[F]) (*Selection, map[string]IndexValues, error) {
	if err := in.check(); err != nil {
		return nil, nil, err
	}
	e := newIndexEval(in, values)
	from := map[string]IndexValues{}
	for _, d := range defs {
		e.name = d.Name
		x, err := d.Value.eval(e)
		if err != nil {
			return nil, nil, fmt.Errorf("index %q: %w", d.Name, err)
		}
		e.results[d.Name] = x
		if s, ok := d.Value.(Select); ok {
			from[d.Name] = e.valuesOf(s.Of)
		}
	}
	return e.out, from, nil
}

func (e *indexEval) valuesOf(name string) IndexValues {
	switch of := e.results[name].(type) {
	case sums:
		return IndexValues{of.values}
	case blockScores:
		return IndexValues(of)
	default: // the choice refused it
		return nil
	}
}
