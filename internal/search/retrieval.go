package search

import (
	"math"
	goruntime "runtime"

	"golang.org/x/sync/errgroup"

	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/qkv"
)

// A retrieval row is one of the rows that answer in which a single key far away has more than half of the row's dense attention: a copy of
// that key is what the model would say next. Whatever keeps less than half of such a row's attention has lost the key, and whatever keeps
// the key keeps more than half; so the log-sum-exp of a candidate tells, and no mask is needed.
const (
	heldMass = 0.5
	nearKeys = 64 // keys among the first ones, or so close before the row, are not far: sinks and local attention
)

// needle is a retrieval row.
type needle struct {
	row  int     // among the rows that answer
	mass float64 // of the single key
}

// findNeedles finds the retrieval rows of every q head of one batch entry: [QHeads]. The input's q are rows that answer alone, [QHeads,
// SeqQ, HeadDim] with positions from QOffset on; k is [KVHeads, SeqK, HeadDim].
func findNeedles(in *qkv.Input) ([][]needle, error) {
	out := make([][]needle, in.QHeads)
	var g errgroup.Group
	g.SetLimit(goruntime.GOMAXPROCS(0))
	for h := range out {
		g.Go(func() (err error) {
			out[h], err = needlesOf(in, h)
			return err
		})
	}
	return out, g.Wait()
}

// keysAtOnce bounds what is decoded at a time.
const keysAtOnce = 256

// needlesOf computes the dense attention of a head's rows that answer, keys once from the first to the last.
func needlesOf(in *qkv.Input, head int) ([]needle, error) {
	dim, rowBytes := in.HeadDim, 2*in.HeadDim
	q := make([]float32, in.SeqQ*dim)
	if err := half.Decode(in.Format, q, in.Q[head*in.SeqQ*rowBytes:][:in.SeqQ*rowBytes]); err != nil {
		return nil, err
	}
	k := in.K[head/(in.QHeads/in.KVHeads)*in.SeqK*rowBytes:][:in.SeqK*rowBytes]
	rows, tile := make([]softmaxRow, in.SeqQ), make([]float32, keysAtOnce*dim)
	scale := 1 / math.Sqrt(float64(dim))
	for first := 0; first < in.SeqK; first += keysAtOnce {
		n := min(keysAtOnce, in.SeqK-first)
		if err := half.Decode(in.Format, tile[:n*dim], k[first*rowBytes:][:n*rowBytes]); err != nil {
			return nil, err
		}
		for i := range rows {
			pos := in.QOffset + i
			for j := range min(n, pos+1-first) {
				logit := scale * float64(dot(q[i*dim:][:dim], tile[j*dim:][:dim]))
				rows[i].add(logit, first+j >= nearKeys && pos-first-j >= nearKeys)
			}
		}
	}
	var out []needle
	for i, r := range rows {
		if m := r.most(); m > heldMass {
			out = append(out, needle{i, m})
		}
	}
	return out, nil
}

// softmaxRow is a softmax whose logits come one after the other.
type softmaxRow struct {
	top, sum float64 // the largest logit, and the sum of e to each logit less top
	far      float64 // the largest logit of a key far away
	some     bool    // there is one
	begun    bool
}

func (r *softmaxRow) add(logit float64, far bool) {
	if !r.begun || logit > r.top {
		if r.begun {
			r.sum *= math.Exp(r.top - logit)
		}
		r.top, r.begun = logit, true
	}
	r.sum += math.Exp(logit - r.top)
	if far && (!r.some || logit > r.far) {
		r.far, r.some = logit, true
	}
}

// most is the mass of the key far away that has the most.
func (r *softmaxRow) most() float64 {
	if !r.some {
		return 0
	}
	return math.Exp(r.far-r.top) / r.sum
}

// dot multiplies vectors whose length is a multiple of 16.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	for i := 0; i+3 < len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	return s0 + s1 + s2 + s3
}
