package search

import (
	"math/rand/v2"
	"slices"
)

// answerRows are the last rows of a prompt, which hold its question: what they compute becomes the answer. They are always sampled and have
// half of the weight.
const (
	answerRows   = 32
	answerWeight = 0.5
	spanRows     = 16 // rows are sampled so many at a time, which are one copy from the device
)

// span are the rows [first, first+n).
type span struct{ first, n int }

// sample are the query rows of a prompt on which outputs are compared, the same for all candidates, layers and heads.
type sample struct {
	spans   []span    // ascending
	weights []float64 // of each row, in the order of the spans; they add up to 1
	answers int       // the last rows are the ones that answer
}

// newSample draws about want of n rows: the last ones, and as many spans as there is room for, one in each of equal parts of the other rows.
func newSample(n, want int, seed uint64) sample {
	answers := min(answerRows, n)
	s := sample{answers: answers}
	rest := n - answers
	parts := max(0, want-answers) / spanRows
	if rest <= parts*spanRows {
		if rest > 0 {
			s.spans = append(s.spans, span{0, rest})
		}
	} else {
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		for i := range parts {
			first, end := i*rest/parts, (i+1)*rest/parts
			s.spans = append(s.spans, span{first + rng.IntN(end-first-spanRows+1), spanRows})
		}
	}
	s.spans = append(s.spans, span{rest, answers})
	s.weigh()
	return s
}

// weigh gives the rows that answer their part, and the others the rest of it.
func (s *sample) weigh() {
	others := -s.answers
	for _, x := range s.spans {
		others += x.n
	}
	answer := answerWeight
	if others == 0 {
		answer = 1
	}
	s.weights = append(slices.Repeat([]float64{(1 - answer) / float64(max(1, others))}, others), slices.Repeat([]float64{answer / float64(s.answers)}, s.answers)...)
}

// rows is how many there are.
func (s sample) rows() int { return len(s.weights) }

// answer is the place among the sampled rows of row i of the rows that answer.
func (s sample) answer(i int) int { return s.rows() - s.answers + i }
