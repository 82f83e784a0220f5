package ir

import (
	"fmt"
	"runtime"
	"sync"
)

// HeadInputs are what the index stage of one head sees: Q [Sq, D] and K [Sk, D], flat. Query row i is at position
// QOffset+i. Scale multiplies the logits of probes, not the scores of blocks. Group are the queries [Sq, D] of all heads that make choices by
// group with this one, its own among them, in the order of heads; nil: it has no others.
type HeadInputs[F Float] struct {
	Q, K               []F
	Group              [][]F
	Sq, Sk, D, QOffset int
	Scale              float64
}

// Selection is what the index stage chose for one head, one entry for each Select in the order of the definitions.
type Selection struct {
	QOffset int
	Sets    []Selected
}

// Selected is what one Select chose.
type Selected struct {
	Name    string
	Kind    ChosenKind
	Members []int // columns or distances, ascending
	// Blocks are the key blocks of every row block, descending; of given spans and keys the entries of every row block as they are.
	Blocks [][]int
}

// Find returns the entry called name.
func (s *Selection) Find(name string) (*Selected, error) {
	for i := range s.Sets {
		if s.Sets[i].Name == name {
			return &s.Sets[i], nil
		}
	}
	return nil, fmt.Errorf("the selection has no %q", name)
}

// EvalIndex computes the index stage of one head in float64. values holds every parameter, as CheckLaunch returns them;
// the definitions are verified. A logit that is NaN or +Inf counts as masked, so that it has the probability 0; a block
// score that is NaN counts as -Inf. Numbers of members are clamped to what is forced below and to the candidates above:
//
//	columns    the keys in [0, min(Sk, QOffset+Sq))
//	distances  [0, QOffset+Sq)
//	blocks     the key blocks that begin no later than the last row of the row block
func EvalIndex[F Float](defs []IndexDef, values map[string]int64, in HeadInputs[F]) (*Selection, error) {
	out, _, err := EvalIndexValues(defs, values, in)
	return out, err
}

func (in HeadInputs[F]) check() error {
	if min(in.Sq, in.Sk, in.QOffset) < 0 || in.D < 1 {
		return fmt.Errorf("lengths %d and %d, offset %d, head dim %d: want none negative and a positive head dim", in.Sq, in.Sk, in.QOffset, in.D)
	}
	if len(in.Q) != in.Sq*in.D || len(in.K) != in.Sk*in.D {
		return fmt.Errorf("q has %d and k %d elements, want %d and %d", len(in.Q), len(in.K), in.Sq*in.D, in.Sk*in.D)
	}
	for i, q := range in.Group {
		if len(q) != len(in.Q) {
			return fmt.Errorf("q of head %d of the group has %d elements, want %d", i, len(q), len(in.Q))
		}
	}
	return nil
}

// indexEval evaluates definitions. What they see of q and k has the type of no element.
type indexEval struct {
	sq, sk, d, offset int
	scale             float64
	product           func(row, key int) float64          // of a query row and a key, not scaled
	element           func(of Tensor, row, i int) float64 // element i of a row

	values  map[string]int64
	name    string         // of the definition that is evaluated
	results map[string]any // what each definition gave: scores, squares, sums, pooled or blockScores
	out     *Selection
	group   []*indexEval // of the heads of the group, as far as choices by group need them; nil: this head alone
}

func newIndexEval[F Float](in HeadInputs[F], values map[string]int64) *indexEval {
	d := in.D
	return &indexEval{sq: in.Sq, sk: in.Sk, d: d, offset: in.QOffset, scale: in.Scale,
		product: func(row, key int) float64 { return dot(in.Q[row*d:][:d], in.K[key*d:][:d]) },
		element: func(of Tensor, row, i int) float64 {
			if of == TensorQ {
				return float64(in.Q[row*d+i])
			}
			return float64(in.K[row*d+i])
		},
		values: values, results: map[string]any{}, out: &Selection{QOffset: in.QOffset}}
}

func resultOf[T any](e *indexEval, name string) (T, error) {
	x, ok := e.results[name].(T)
	if !ok {
		return x, fmt.Errorf("internal: %q is %T, which does not fit here", name, e.results[name])
	}
	return x, nil
}

// How many calls are worth a goroutine.
const (
	manyProducts = 2048 // of rows
	manySorts    = 64   // of all key blocks
)

// inParallel calls f for 0 <= i < n, at least so many by a goroutine; every call writes places of its own.
func inParallel(n, least int, f func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n/least)
	if workers < 2 {
		workers = 1
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := n * w / workers; i < n*(w+1)/workers; i++ {
				f(i)
			}
		})
	}
	wg.Wait()
}
