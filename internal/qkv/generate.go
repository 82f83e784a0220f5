package qkv

import (
	"fmt"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/workload"
)

// Generate makes a structured input: workload.Mixed over the kv heads. The same seed gives the same bytes.
func Generate(s Shape, f abi.DType, seed uint64) (*Input, error) {
	return GenerateKind(workload.Mixed, s, f, seed)
}

// GenerateKind makes an input with the structure of a kind. The same seed gives the same bytes.
func GenerateKind(kind workload.Kind, s Shape, f abi.DType, seed uint64) (*Input, error) {
	spec := workload.Spec{Kind: kind, Batch: s.Batch, QHeads: s.QHeads, KVHeads: s.KVHeads, SeqLen: max(1, s.SeqQ, s.SeqK),
		HeadDim: s.HeadDim, Seed: seed, DType: f}
	in := &Input{Shape: s, Format: f}
	for _, part := range []struct {
		to       *[]byte
		tensor   workload.Tensor
		first, n int
	}{{&in.Q, workload.Q, s.QOffset, s.SeqQ}, {&in.K, workload.K, 0, s.SeqK}, {&in.V, workload.V, 0, s.SeqK}} {
		var err error
		if *part.to, err = spec.Rows(part.tensor, part.first, part.n); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// maxFile bounds the tensors of one file, in bytes; they need twice their size in memory.
const maxFile = 8 << 30

// CheckFileSize refuses inputs that are too large for a file.
func CheckFileSize(s workload.Spec) error {
	if size := float64(s.Bytes()); size > maxFile {
		return fmt.Errorf("q, k and v would take %.1f GB, the limit of a file is %.1f: ask for fewer --heads or tokens (minfc bench makes its inputs on the device)",
			size/1e9, float64(maxFile)/1e9)
	}
	return nil
}

// GenerateSpec makes an input as a spec describes it. watch hears of the bytes that are done.
func GenerateSpec(s workload.Spec, watch func(done, total int64)) (*Input, error) {
	q, k, v, err := workload.GenerateWatched(s, watch)
	return &Input{Format: s.DType, Q: q, K: k, V: v, Shape: Shape{Batch: s.Batch, QHeads: s.QHeads, KVHeads: s.KVHeads,
		SeqQ: s.SeqLen, SeqK: s.SeqLen, HeadDim: s.HeadDim}}, err
}
