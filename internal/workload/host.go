package workload

import (
	"fmt"
	"math"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/minfc/minfc/half"
)

// Generate makes q, k and v as OnDevice does, in host memory: little-endian, contiguous.
func Generate(s Spec) (q, k, v []byte, err error) { return GenerateWatched(s, nil) }

// GenerateWatched is Generate, and calls progress, unless it is nil, with the bytes that are made and the bytes of all: from several
// goroutines, not in order.
func GenerateWatched(s Spec, progress func(done, total int64)) (q, k, v []byte, err error) {
	var made atomic.Int64
	part := func(bytes int) {
		if done := made.Add(int64(bytes)); progress != nil {
			progress(done, s.Bytes())
		}
	}
	for t, to := range []*[]byte{&q, &k, &v} {
		if *to, err = s.rows(Tensor(t), 0, s.SeqLen, part); err != nil {
			return nil, nil, nil, err
		}
	}
	return q, k, v, nil
}

// Rows makes rows [first, first+n) of every head of a tensor: [Batch, heads, n, HeadDim]. They may lie beyond SeqLen.
func (s Spec) Rows(t Tensor, first, n int) ([]byte, error) {
	return s.rows(t, first, n, func(int) {})
}

// rows is Rows, and calls made with the bytes of each part that is there.
func (s Spec) rows(t Tensor, first, n int, made func(bytes int)) ([]byte, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if first < 0 || n < 0 || first > math.MaxInt32 || n > math.MaxInt32-first {
		return nil, fmt.Errorf("rows %d to %d of the workload: want positions from 0 to %d", first, first+n, math.MaxInt32)
	}
	heads, rowBytes := s.Batch*s.heads(t), 2*s.HeadDim
	out := make([]byte, heads*n*rowBytes)
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	freq := frequencies(s.HeadDim)
	for h := range heads {
		p := s.plan(t, h/s.heads(t), h%s.heads(t))
		for at := 0; at < n; at += part {
			rows := min(part, n-at)
			to := out[(h*n+at)*rowBytes:][:rows*rowBytes]
			g.Go(func() error {
				defer made(len(to))
				return s.fill(to, p, freq, uint32(first+at))
			})
		}
	}
	return out, g.Wait()
}

// part is the number of rows that one worker makes at a time.
const part = 1024

// fill makes whole rows from a position on.
func (s Spec) fill(to []byte, p *plan, freq []uint32, pos uint32) error {
	values := make([]float32, len(to)/2)
	for at := 0; at < len(values); at += s.HeadDim {
		p.row(values[at:][:s.HeadDim], pos, freq)
		pos++
	}
	encoded, err := half.Encode(s.DType, values)
	copy(to, encoded)
	return err
}

// pieceCols is the number of columns that one thread of the kernel makes: 16 bytes.
const pieceCols = 8

// row makes the elements of one position. Parts of size 0 are left out: adding them would change nothing.
func (p *plan) row(x []float32, pos uint32, freq []uint32) {
	place := mix(pos^p.noiseKey) ^ p.noiseSalt
	for c := range x {
		x[c] = float32(float32(bell(hash(place, uint32(c)))) * p.noise)
	}
	if shared := p.sharedAt(pos); shared != 0 {
		addSigns(x, shared, mix(p.sharedKey))
	}
	if p.code != 0 {
		next, here := p.turnAt(pos)
		code := p.codeOf(pos)
		addSigns(x, here, mix(code^p.codeKey))
		addSigns(x, next, mix((code+1)^p.codeKey))
	}
	if p.rope != 0 {
		p.rotate(x[:len(x)/2], p.lookAt(pos), freq)
	}
}

// addSigns adds a vector of elements of one size, whose signs are the low bits of one hash a piece.
func addSigns(x []float32, size float32, code uint32) {
	for c := 0; c < len(x); c += pieceCols {
		signs := hash(code, uint32(c/pieceCols))
		for i := range pieceCols {
			x[c+i] += flip(size, signs>>i)
		}
	}
}

// rotate adds the head's vector at a position. Only the faster half of the frequencies takes part: the others hardly
// turn, so they would make all distances alike.
func (p *plan) rotate(x []float32, pos uint32, freq []uint32) {
	start := mix(p.ropeKey)
	for f := range len(x) / 2 {
		sin, cos := sincos(pos*freq[f] + hash(start, uint32(f)))
		x[2*f] += float32(cos * p.rope)
		x[2*f+1] += float32(sin * p.rope)
	}
}
