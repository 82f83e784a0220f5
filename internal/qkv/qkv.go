// Package qkv reads the tensors of one attention call, or makes them, and writes its results.
package qkv

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/safetensors"
)

// Shape is the shape of one attention call. Query row i sits at position QOffset + i.
type Shape struct {
	Batch, QHeads, KVHeads, SeqQ, SeqK, HeadDim, QOffset int
}

// End is the position after the last query.
func (s Shape) End() int { return s.QOffset + s.SeqQ }

// Input is q [Batch, QHeads, SeqQ, HeadDim] and k, v [Batch, KVHeads, SeqK, HeadDim], contiguous, 16 bits an element.
type Input struct {
	Shape
	Format  abi.DType
	Q, K, V []byte
	Layout  Layout // of the file that it came from and of the results that are written; not of Q, K and V
}

// Call is the call on the tensors, in the runtime's words; parameters are the caller's to add.
func (in *Input) Call() runtime.HostCall {
	return runtime.HostCall{Shape: in.CallShape(), Q: in.Q, K: in.K, V: in.V}
}

// CallShape is the shape of the call in the runtime's words.
func (s Shape) CallShape() runtime.Shape {
	return runtime.Shape{Batch: s.Batch, QHeads: s.QHeads, KVHeads: s.KVHeads, SeqQ: s.SeqQ, SeqK: s.SeqK, QOffset: s.QOffset}
}

const wanted = "wanted q [B, Hq, Sq, D] and k, v [B, Hk, Sk, D], all BF16 or all F16"

// Load reads q, k and v from a safetensors file; other tensors in it are ignored. Errors begin with the path.
func Load(path string) (*Input, error) { return LoadAs(path, BHSD) }

func load(f *safetensors.File, l Layout) (*Input, error) {
	in, infos, err := describe(f, l, "")
	if err != nil {
		return nil, err
	}
	return in, in.read(f, infos)
}

// describe finds the tensors, whose names begin with a prefix, and judges them: an input without its bytes.
func describe(f *safetensors.File, l Layout, prefix string) (in *Input, infos [3]safetensors.Info, err error) {
	for i, name := range []string{"q", "k", "v"} {
		info, ok := f.Lookup(prefix + name)
		if !ok {
			return nil, infos, fmt.Errorf("no tensor %q, found %q: %s", prefix+name, f.Names(), wanted)
		}
		infos[i] = l.headsFirst(info)
	}
	in = &Input{Layout: l}
	return in, infos, in.check(infos[0], infos[1], infos[2])
}

// read reads the bytes of the tensors.
func (in *Input) read(f *safetensors.File, infos [3]safetensors.Info) (err error) {
	for i, to := range []*[]byte{&in.Q, &in.K, &in.V} {
		if *to, err = f.Read(infos[i].Name); err != nil {
			return err
		}
		if s := infos[i].Shape; in.Layout == BSHD {
			*to = swap(*to, s[0], s[2], s[1], 2*s[3])
		}
	}
	return nil
}

// check fills the shape and format, or says what does not fit.
func (in *Input) check(q, k, v safetensors.Info) error {
	for _, t := range []safetensors.Info{q, k, v} {
		switch {
		case t.DType != safetensors.BF16 && t.DType != safetensors.F16:
			return fmt.Errorf("tensor %q is %s: %s", t.Name, t.DType, wanted)
		case len(t.Shape) != 4:
			return fmt.Errorf("tensor %q has %d dimensions, %v: %s", t.Name, len(t.Shape), t.Shape, wanted)
		case t.DType != q.DType:
			return fmt.Errorf("tensor q is %s and %s is %s: %s", q.DType, t.Name, t.DType, wanted)
		}
	}
	in.Format = map[safetensors.DType]abi.DType{safetensors.BF16: abi.BF16, safetensors.F16: abi.F16}[q.DType]
	in.Shape = Shape{
		Batch: q.Shape[0], QHeads: q.Shape[1], SeqQ: q.Shape[2], HeadDim: q.Shape[3],
		KVHeads: k.Shape[1], SeqK: k.Shape[2],
	}
	return checkShapes(q.Shape, k.Shape, v.Shape)
}

func checkShapes(q, k, v []int) error {
	for i := range k {
		if k[i] != v[i] {
			return fmt.Errorf("k has shape %v and v has %v, wanted the same [B, Hk, Sk, D]", k, v)
		}
	}
	switch {
	case q[0] != k[0]:
		return fmt.Errorf("q has batch %d and k has %d (shapes %v and %v), wanted the same", q[0], k[0], q, k)
	case q[3] != k[3]:
		return fmt.Errorf("q has head dim %d and k has %d (shapes %v and %v), wanted the same", q[3], k[3], q, k)
	case q[0] < 1 || q[1] < 1 || k[1] < 1:
		return fmt.Errorf("q has shape %v and k has %v, wanted at least one batch and one head", q, k)
	case q[1]%k[1] != 0:
		return fmt.Errorf("q has %d heads and k has %d, wanted a multiple of the kv heads (files of [B, S, H, D] are read with --layout bshd)", q[1], k[1])
	}
	return nil
}

var dtypes = map[abi.DType]safetensors.DType{abi.BF16: safetensors.BF16, abi.F16: safetensors.F16}

// Tensors returns q, k and v as Load reads them.
func (in *Input) Tensors() []safetensors.Tensor {
	return []safetensors.Tensor{
		in.tensor("q", in.QHeads, in.SeqQ, in.Q), in.tensor("k", in.KVHeads, in.SeqK, in.K), in.tensor("v", in.KVHeads, in.SeqK, in.V),
	}
}

// tensor is [Batch, heads, rows, HeadDim] in the layout of the input.
func (in *Input) tensor(name string, heads, rows int, data []byte) safetensors.Tensor {
	shape := []int{in.Batch, heads, rows, in.HeadDim}
	if in.Layout == BSHD {
		shape, data = []int{in.Batch, rows, heads, in.HeadDim}, swap(data, in.Batch, heads, rows, 2*in.HeadDim)
	}
	return safetensors.Tensor{Name: name, DType: dtypes[in.Format], Shape: shape, Data: data}
}

// Output returns the tensors of OUT: o like q, in the layout of the input, and lse F32 [B, Hq, Sq] unless it is nil.
func (in *Input) Output(o []byte, lse []float32) []safetensors.Tensor {
	out := []safetensors.Tensor{in.tensor("o", in.QHeads, in.SeqQ, o)}
	if lse != nil {
		data := make([]byte, 0, 4*len(lse))
		for _, x := range lse {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
		}
		out = append(out, safetensors.Tensor{Name: "lse", DType: safetensors.F32, Shape: []int{in.Batch, in.QHeads, in.SeqQ}, Data: data})
	}
	return out
}

// Cover returns the tensor of COV: cover U8 [B, Hq, rows, Sk]. The mask has this shape, or [rows, Sk] where all heads keep
// the same, as static patterns do.
func (in *Input) Cover(rows int, mask []byte) safetensors.Tensor {
	shape := []int{in.Batch, in.QHeads, rows, in.SeqK}
	if len(mask) == in.Batch*in.QHeads*rows*in.SeqK {
		return safetensors.Tensor{Name: "cover", DType: safetensors.U8, Shape: shape, Data: mask}
	}
	data := make([]byte, 0, in.Batch*in.QHeads*len(mask))
	for range in.Batch * in.QHeads {
		data = append(data, mask...)
	}
	return safetensors.Tensor{Name: "cover", DType: safetensors.U8, Shape: shape, Data: data}
}

// String writes the shape as people read it in a report.
func (in *Input) String() string {
	return fmt.Sprintf("q [%d, %d, %d, %d], k and v [%d, %d, %d, %d], %s",
		in.Batch, in.QHeads, in.SeqQ, in.HeadDim, in.Batch, in.KVHeads, in.SeqK, in.HeadDim, in.Format)
}
