package ir

import (
	"fmt"
	"math"
	"runtime"
	"sync"
)

// Float is the type of stored tensors; all arithmetic of the reference is in float64.
type Float interface{ ~float32 | ~float64 }

// Attend is attention of one query row over the keys that keep accepts: q [D], k and v [n, D] flat. out [D] is the
// softmax-weighted sum of values, lse the natural logarithm of the sum of exponentials of scale * q.k. A row without
// keys gives zeros and -Inf. A key that keep refuses is not looked at; a kept one whose logit is -Inf has the weight 0, and one whose
// logit is NaN or +Inf makes all of the row NaN, as keys whose logits are all -Inf do.
func Attend[F Float](q, k, v []F, keep func(k int) bool, scale float64) (out []float64, lse float64) {
	s := newWeighted(len(q))
	attend(s, q, k, v, keep, scale)
	return s.result()
}

// weighted adds values up by the exponentials of their logits, relative to the highest logit so far.
type weighted struct {
	out          []float64
	highest, sum float64
	kept         bool
}

func newWeighted(d int) *weighted {
	return &weighted{out: make([]float64, d), highest: math.Inf(-1)}
}

// attend adds the keys that keep accepts to s.
func attend[F Float](s *weighted, q, k, v []F, keep func(k int) bool, scale float64) {
	d := len(q)
	for j := range len(k) / max(d, 1) {
		if keep(j) {
			p := s.add(scale * dot(q, k[j*d:(j+1)*d]))
			for i, x := range v[j*d : (j+1)*d] {
				s.out[i] += p * float64(x)
			}
		}
	}
}

// attendMeans adds means to s.
func attendMeans[F Float](s *weighted, q []F, means []MeanRow, scale float64) {
	for _, m := range means {
		product := 0.0
		for i, x := range q {
			product += float64(x) * m.K[i]
		}
		p := s.add(scale*product + math.Log(float64(m.Keys)))
		for i, x := range m.V {
			s.out[i] += p * x
		}
	}
}

// add takes in a logit and returns the weight of its value.
func (s *weighted) add(logit float64) float64 {
	s.kept = true
	if logit > s.highest { // what is summed so far was relative to the old maximum
		s.rescale(math.Exp(s.highest - logit))
		s.highest = logit
	}
	p := weight(logit, s.highest)
	s.sum += p
	return p
}

// result is the output and the LSE.
func (s *weighted) result() (out []float64, lse float64) {
	switch {
	case !s.kept:
		return s.out, math.Inf(-1)
	case s.sum == 0: // 0 / 0
		s.rescale(math.NaN())
		return s.out, math.NaN()
	}
	for i := range s.out {
		s.out[i] /= s.sum
	}
	return s.out, s.highest + math.Log(s.sum)
}

// weight is the exponential of a logit relative to the highest so far, which may be -Inf as well.
func weight(logit, highest float64) float64 {
	if math.IsInf(logit, -1) {
		return 0
	}
	return math.Exp(logit - highest)
}

func (s *weighted) rescale(by float64) {
	s.sum *= by
	for i := range s.out {
		s.out[i] *= by
	}
}

// dot has four sums, which need not wait for each other: most of the time of a reference is spent here.
func dot[F Float](a, b []F) float64 {
	var s0, s1, s2, s3 float64
	for ; len(a) >= 4 && len(b) >= 4; a, b = a[4:], b[4:] {
		s0 += float64(a[0]) * float64(b[0])
		s1 += float64(a[1]) * float64(b[1])
		s2 += float64(a[2]) * float64(b[2])
		s3 += float64(a[3]) * float64(b[3])
	}
	for i, x := range a {
		s0 += float64(x) * float64(b[i])
	}
	return s0 + s1 + (s2 + s3)
}

// Inputs are the tensors of one attention: Q [B, Hq, Sq, D], K and V [B, Hk, Sk, D], flat. Query head h reads the keys and
// values of head h / (Hq/Hk).
type Inputs[F Float] struct {
	B, Hq, Hk, Sq, Sk, D int
	QOffset              int // position of query row 0
	Q, K, V              []F
	Scale                float64
	Keep                 func(q, k int) bool // as Pattern.Keeps returns it; safe for concurrent calls
	Dropped              *Dropped            // what means stand for; nil: nothing stands for what is dropped
}

// Reference computes attention in float64 for the listed query rows, all of them if rows is nil: out [B, Hq, rows, D] and
// lse [B, Hq, rows]. It uses all processors.
func Reference[F Float](in Inputs[F], rows []int) (out, lse []float64, err error) {
	if err := in.check(rows); err != nil {
		return nil, nil, err
	}
	if rows == nil {
		rows = make([]int, in.Sq)
		for i := range rows {
			rows[i] = i
		}
	}
	means := in.pooled()
	work := in.B * in.Hq * len(rows)
	out, lse = make([]float64, work*in.D), make([]float64, work)
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			// Rows are dealt out in turn: causal rows grow, blocks of them would leave one worker most of the work.
			for n := w; n < work; n += workers {
				o, l := in.row(means, n/len(rows), rows[n%len(rows)])
				copy(out[n*in.D:], o)
				lse[n] = l
			}
		})
	}
	wg.Wait()
	return out, lse, nil
}

// pooledHead are the mean keys and values of a kv head.
type pooledHead struct{ k, v []float64 }

// pooled are the means of all kv heads, none where nothing stands for what is dropped.
func (in Inputs[F]) pooled() (out []pooledHead) {
	if in.Dropped == nil {
		return nil
	}
	n := in.Sk * in.D
	for h := range in.B * in.Hk {
		out = append(out, pooledHead{PooledRows(in.K[h*n:][:n], in.D, *in.Dropped), PooledRows(in.V[h*n:][:n], in.D, *in.Dropped)})
	}
	return out
}

// row attends one query row i of head bh = batch*Hq + head.
func (in Inputs[F]) row(means []pooledHead, bh, i int) ([]float64, float64) {
	batch, head := bh/in.Hq, bh%in.Hq
	kv := batch*in.Hk + head/(in.Hq/in.Hk)
	q := in.Q[(bh*in.Sq+i)*in.D:][:in.D]
	n := in.Sk * in.D
	s := newWeighted(in.D)
	attend(s, q, in.K[kv*n:][:n], in.V[kv*n:][:n], func(k int) bool { return in.Keep(in.QOffset+i, k) }, in.Scale)
	if in.Dropped != nil {
		attendMeans(s, q, in.Dropped.Means(means[kv].k, means[kv].v, in.D, i), in.Scale)
	}
	return s.result()
}

func (in Inputs[F]) check(rows []int) error {
	if min(in.B, in.Hq, in.Hk, in.D) < 1 || min(in.Sq, in.Sk) < 0 || in.Hq%in.Hk != 0 {
		return fmt.Errorf("batch %d, query heads %d, kv heads %d, lengths %d and %d, head dim %d: want positive sizes and query heads a multiple of kv heads",
			in.B, in.Hq, in.Hk, in.Sq, in.Sk, in.D)
	}
	if want := in.B * in.Hq * in.Sq * in.D; len(in.Q) != want {
		return fmt.Errorf("q has %d elements, want %d", len(in.Q), want)
	}
	if want := in.B * in.Hk * in.Sk * in.D; len(in.K) != want || len(in.V) != want {
		return fmt.Errorf("k has %d and v %d elements, want %d", len(in.K), len(in.V), want)
	}
	for _, i := range rows {
		if i < 0 || i >= in.Sq {
			return fmt.Errorf("query row %d does not exist, there are %d", i, in.Sq)
		}
	}
	return nil
}
