// Package seeded makes attention inputs with the structure that real heads show, the same bytes on every machine.
package seeded

import "math/rand/v2"

// Shape is the shape of one attention call: q is [Batch, QHeads, SeqQ, HeadDim], k and v are [Batch, KVHeads, SeqK, HeadDim].
type Shape struct {
	Batch, QHeads, KVHeads, SeqQ, SeqK, HeadDim, QOffset int
}

// Strength of the parts, chosen so that scaled scores of sinks and near neighbours lie 2 to 4 above the noise.
const (
	sinkKeys  = 4    // first keys that every query looks at
	sinkPull  = 0.6  // component of queries and sink keys in the direction they share
	localPull = 0.5  // component of queries and keys that follows their position
	noise     = 0.5  // what is left
	memory    = 0.95 // how slowly the local component changes from one position to the next
	renewal   = 0.31 // sqrt(1 - memory²), so that its size stays 1
)

// QKV returns structured q, k and v: the first keys are sinks, near positions resemble each other, the rest is noise.
// Every product is rounded before it is added (the float32 conversions), so no machine fuses them and the values are equal everywhere.
func QKV(s Shape, seed uint64) (q, k, v []float32) {
	q = make([]float32, s.Batch*s.QHeads*s.SeqQ*s.HeadDim)
	k = make([]float32, s.Batch*s.KVHeads*s.SeqK*s.HeadDim)
	v = make([]float32, len(k))
	group := s.QHeads / s.KVHeads
	for kv := range s.Batch * s.KVHeads {
		g := &source{rand.NewPCG(seed, uint64(kv))}
		shared, walk := g.signs(s.HeadDim), g.walk(s.SeqK, s.HeadDim)
		n := s.SeqK * s.HeadDim
		fillKeys(g, k[kv*n:][:n], shared, walk)
		for i := range n {
			v[kv*n+i] = g.normal()
		}
		for h := range group {
			m := s.SeqQ * s.HeadDim
			fillQueries(g, q[(kv*group+h)*m:][:m], shared, walk, s)
		}
	}
	return q, k, v
}

func fillKeys(g *source, k, shared, walk []float32) {
	d := len(shared)
	for i := range k {
		k[i] = float32(localPull*walk[i]) + float32(noise*g.normal())
		if i/d < sinkKeys {
			k[i] += float32(sinkPull * shared[i%d])
		}
	}
}

// fillQueries places row i at position QOffset+i; positions after the last key resemble that key.
func fillQueries(g *source, q, shared, walk []float32, s Shape) {
	d := s.HeadDim
	for i := range q {
		pos := min(s.QOffset+i/d, s.SeqK-1)
		q[i] = float32(sinkPull*shared[i%d]) + float32(localPull*walk[pos*d+i%d]) + float32(noise*g.normal())
	}
}

type source struct{ *rand.PCG }

// normal sums twelve 16-bit uniforms: nearly Gaussian with variance 1, and exact in integers up to the last step.
func (g *source) normal() float32 {
	sum := int32(0)
	for range 3 {
		for x, i := g.Uint64(), 0; i < 4; x, i = x>>16, i+1 {
			sum += int32(x & 0xffff)
		}
	}
	return float32(sum-6*0xffff) / 65536
}

// signs returns a direction of n components, each 1 or -1.
func (g *source) signs(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(int(g.Uint64()>>63)*2 - 1)
	}
	return out
}

// walk returns n positions of d components; each is mostly the one before.
func (g *source) walk(n, d int) []float32 {
	out := make([]float32, n*d)
	for i := range out {
		if out[i] = g.normal(); i >= d {
			out[i] = float32(memory*out[i-d]) + float32(renewal*out[i])
		}
	}
	return out
}
