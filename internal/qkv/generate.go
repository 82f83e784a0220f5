package qkv

import (
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
