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
	e, err := evalGroup(defs, values, in)
	if err != nil {
		return nil, nil, err
	}
	from := map[string]IndexValues{}
	for _, d := range defs {
		if err := e.define(d); err != nil {
			return nil, nil, err
		}
		if s, ok := d.Value.(Select); ok {
			if from[d.Name], err = e.valuesOf(s); err != nil {
				return nil, nil, err
			}
		}
	}
	return e.out, from, nil
}

// define evaluates a definition.
func (e *indexEval) define(d IndexDef) (err error) {
	e.name = d.Name
	if e.results[d.Name], err = d.Value.eval(e); err != nil {
		return fmt.Errorf("index %q: %w", d.Name, err)
	}
	return nil
}

func (e *indexEval) valuesOf(s Select) (IndexValues, error) {
	values, err := e.chosenFrom(s)
	switch of := values.(type) {
	case sums:
		return IndexValues{of.values}, err
	case blockScores:
		return IndexValues(of), err
	default: // the choice refused it
		return nil, err
	}
}
