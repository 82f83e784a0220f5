package qkv

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/safetensors"
)

func write(t *testing.T, ts ...safetensors.Tensor) string {
	t.Helper()
	b, err := safetensors.Encode(ts)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "in.safetensors")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

// tensor is filled with its name's first byte, so that a mix-up of q, k and v shows.
func tensor(name string, dtype safetensors.DType, shape ...int) safetensors.Tensor {
	n := map[safetensors.DType]int{safetensors.F32: 4, safetensors.BF16: 2, safetensors.F16: 2}[dtype]
	for _, d := range shape {
		n *= d
	}
	return safetensors.Tensor{Name: name, DType: dtype, Shape: shape, Data: bytes.Repeat([]byte{name[0]}, n)}
}

const bf = safetensors.BF16

func TestLoad(t *testing.T) {
	in, err := Load(write(t, tensor("v", bf, 1, 2, 5, 16), tensor("k", bf, 1, 2, 5, 16), tensor("q", bf, 1, 4, 3, 16), tensor("mask", safetensors.F32, 7)))
	require.NoError(t, err)
	require.Equal(t, Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 3, SeqK: 5, HeadDim: 16}, in.Shape)
	require.Equal(t, abi.BF16, in.Format)
	require.Equal(t, [3]byte{'q', 'k', 'v'}, [3]byte{in.Q[0], in.K[0], in.V[0]})
	require.Equal(t, "q [1, 4, 3, 16], k and v [1, 2, 5, 16], bf16", in.String())
}

func TestLoadRefuses(t *testing.T) {
	q, k, v := tensor("q", bf, 1, 4, 3, 16), tensor("k", bf, 1, 2, 5, 16), tensor("v", bf, 1, 2, 5, 16)
	for _, c := range []struct {
		name, want string
		ts         []safetensors.Tensor
	}{
		{"name", `no tensor "v", found ["k" "q" "values"]`, []safetensors.Tensor{q, k, tensor("values", bf, 1, 2, 5, 16)}},
		{"type", `tensor "k" is F32`, []safetensors.Tensor{q, tensor("k", safetensors.F32, 1, 2, 5, 16), v}},
		{"mixed", "tensor q is BF16 and v is F16", []safetensors.Tensor{q, k, tensor("v", safetensors.F16, 1, 2, 5, 16)}},
		{"rank", `tensor "q" has 3 dimensions, [4 3 16]: wanted q [B, Hq, Sq, D]`, []safetensors.Tensor{tensor("q", bf, 4, 3, 16), k, v}},
		{"k and v", "k has shape [1 2 5 16] and v has [1 2 6 16], wanted the same", []safetensors.Tensor{q, k, tensor("v", bf, 1, 2, 6, 16)}},
		{"batch", "q has batch 2 and k has 1", []safetensors.Tensor{tensor("q", bf, 2, 4, 3, 16), k, v}},
		{"head dim", "q has head dim 32 and k has 16", []safetensors.Tensor{tensor("q", bf, 1, 4, 3, 32), k, v}},
		{"no heads", "at least one batch and one head", []safetensors.Tensor{q, tensor("k", bf, 1, 0, 5, 16), tensor("v", bf, 1, 0, 5, 16)}},
		{"group", "q has 3 heads and k has 2, wanted a multiple", []safetensors.Tensor{tensor("q", bf, 1, 3, 3, 16), k, v}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.ts...)
			_, err := Load(path)
			require.ErrorContains(t, err, path+": ")
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestResultsAreLikeTheInput(t *testing.T) {
	in, err := Generate(Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 3, SeqK: 4, HeadDim: 16}, abi.F16, 1)
	require.NoError(t, err)
	require.Len(t, in.Q, 2*3*16*2)
	out := in.Output(in.Q, []float32{1, 2, 3, 4, 5, 6})
	require.Equal(t, safetensors.F16, out[0].DType)
	require.Equal(t, []int{1, 2, 3, 16}, out[0].Shape)
	require.Equal(t, []int{1, 2, 3}, out[1].Shape)
	require.Equal(t, []byte{0, 0, 0x80, 0x3f}, out[1].Data[:4], "little-endian 1.0")
	require.Len(t, in.Output(in.Q, nil), 1, "no lse when it was not wanted")

	cover := in.Cover(2, []byte("abcdefgh"))
	require.Equal(t, []int{1, 2, 2, 4}, cover.Shape)
	require.Equal(t, "abcdefghabcdefgh", string(cover.Data))
}

// The limit of a file is said before the tensors are made.
func TestFilesHaveALimit(t *testing.T) {
	s := workload.Spec{Kind: workload.Mixed, Batch: 1, QHeads: 8, KVHeads: 8, SeqLen: 1 << 10, HeadDim: 16, Seed: 1, DType: abi.F16}
	require.NoError(t, CheckFileSize(s))
	in, err := GenerateSpec(s, func(done, total int64) {})
	require.NoError(t, err)
	require.EqualValues(t, s.Bytes(), len(in.Q)+len(in.K)+len(in.V))
	s.SeqLen = 1 << 25
	require.ErrorContains(t, CheckFileSize(s), "q, k and v would take 25.8 GB, the limit of a file is 8.6")
}
