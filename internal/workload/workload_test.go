package workload

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The bytes of a seed never change: results quoted from them stay comparable, whatever the machine and Go version.
func TestSameBytesEverywhere(t *testing.T) {
	var out strings.Builder
	for _, s := range deviceSpecs() {
		h := sha256.New()
		q, k, v, err := Generate(s)
		require.NoError(t, err)
		for _, part := range [][]byte{q, k, v} {
			h.Write(part)
		}
		fmt.Fprintf(&out, "%s %s B%d H%d/%d N%d D%d seed %d: %x\n", s.Kind, s.DType, s.Batch, s.QHeads, s.KVHeads, s.SeqLen, s.HeadDim, s.Seed, h.Sum(nil)[:16])
	}
	golden(t, "testdata/bytes.txt", out.String())
}

// What the heads of a common shape hold, as minfc gen prints it.
func TestHeads(t *testing.T) {
	var out strings.Builder
	for _, n := range []int{16, 1 << 10, 1 << 15, 1 << 20} {
		s := Spec{Kind: Mixed, Batch: 1, QHeads: 10, KVHeads: 5, SeqLen: n, HeadDim: 128, Seed: 1, DType: abi.BF16}
		require.NoError(t, s.Check())
		for i, h := range s.Heads() {
			require.Equal(t, i/2, h.KVHead)
			if i%2 == 0 {
				fmt.Fprintf(&out, "%d: %s: %s: %s\n", n, h.Kind, h.Planted(), h.Fit)
			}
		}
	}
	golden(t, "testdata/heads.txt", out.String())
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestCheckSaysWhatIsWanted(t *testing.T) {
	good := small
	good.Kind = Mixed
	require.NoError(t, good.Check())
	for want, spoil := range map[string]func(*Spec){
		`no workload "blokcs": want one of random, a_shape, slash, columns, blocks, diffuse, mixed, did you mean blocks?`: func(s *Spec) { s.Kind = "blokcs" },
		"3 q heads do not share 2 kv heads: want a multiple":                                                              func(s *Spec) { s.QHeads, s.KVHeads = 3, 2 },
		"batch 0 with 2 q heads and 1 kv heads: want at least 1 of each":                                                  func(s *Spec) { s.Batch = 0 },
		"want at most 65535 heads":                                           func(s *Spec) { s.Batch, s.QHeads = 1<<40, 1<<40 },
		"sequence length 0: want 1 to 33554432":                              func(s *Spec) { s.SeqLen = 0 },
		"head dim 72 is not supported: want a multiple of 16 from 16 to 256": func(s *Spec) { s.HeadDim = 72 },
		`data type "f32" is not supported: want bf16 or f16`:                 func(s *Spec) { s.DType = "f32" },
		"sharpness -1: want a number above 0, at most 4":                     func(s *Spec) { s.Sharpness = -1 },
		"sharpness NaN: want a number above 0, at most 4":                    func(s *Spec) { s.Sharpness = math.NaN() },
	} {
		s := good
		spoil(&s)
		require.ErrorContains(t, s.Check(), want)
		_, _, _, err := Generate(s)
		require.Error(t, err)
		_, err = OnDevice(nil, s, nil)
		require.Error(t, err)
	}
}

// Rows are the same whether made alone or with all others, also beyond the sequence.
func TestRowsStandAlone(t *testing.T) {
	s := small
	s.Kind, s.KVHeads, s.SeqLen = Slash, 2, 3000 // more than one worker's part
	all, err := s.Rows(Q, 0, 3100)
	require.NoError(t, err)
	some, err := s.Rows(Q, 990, 2105)
	require.NoError(t, err)
	row := 2 * s.HeadDim
	for h := range s.QHeads {
		require.Equal(t, all[(h*3100+990)*row:(h*3100+3095)*row], some[h*2105*row:(h+1)*2105*row])
	}
	for _, bad := range [][2]int{{-1, 1}, {0, -1}, {math.MaxInt32, 1}} {
		_, err := s.Rows(Q, bad[0], bad[1])
		require.ErrorContains(t, err, "want positions from 0 to 2147483647")
	}
}

// Seeds, batches, heads and tensors differ; q heads of a group share what is planted, not the noise.
func TestStreamsDiffer(t *testing.T) {
	s := small
	s.Kind, s.Batch, s.QHeads, s.KVHeads, s.SeqLen = Columns, 2, 4, 2, 128
	seen := map[string]string{}
	for seed := range uint64(3) {
		s.Seed = seed
		q, k, v, err := Generate(s)
		require.NoError(t, err)
		size := 2 * s.SeqLen * s.HeadDim
		for name, data := range map[string][]byte{"q": q, "k": k, "v": v} {
			for h := 0; h < len(data); h += size {
				here := fmt.Sprintf("seed %d %s head %d", seed, name, h/size)
				require.Empty(t, seen[string(data[h:h+size])], here)
				seen[string(data[h:h+size])] = here
			}
		}
		require.NotEqual(t, s.structure(0).Columns, s.structure(1).Columns)
		require.Equal(t, s.Heads()[0], s.Heads()[1])
	}
}

// Values are numbers of mean 0 and standard deviation 1, without ties between neighbours.
func TestValuesAreNormal(t *testing.T) {
	s := small
	s.Kind = Random
	data, err := s.Rows(V, 0, s.SeqLen)
	require.NoError(t, err)
	sum, squares, fourth, product := 0.0, 0.0, 0.0, 0.0
	x := decode(t, s, data)
	for i, v := range x {
		f := float64(v)
		sum, squares, fourth = sum+f, squares+f*f, fourth+f*f*f*f
		if i > 0 {
			product += f * float64(x[i-1])
		}
	}
	n := float64(len(x))
	require.InDelta(t, 0, sum/n, 0.02)
	require.InDelta(t, 1, squares/n, 0.02)
	require.InDelta(t, 2.7, fourth/n, 0.1, "four bytes: a little flatter than the 3 of a normal number")
	require.InDelta(t, 0, product/n, 0.02)
}

func TestRotation(t *testing.T) {
	for i := range uint32(10000) {
		angle := mix(i)
		sin, cos := sincos(angle)
		exact := 2 * math.Pi * float64(angle) / (1 << 32)
		require.InDelta(t, math.Sin(exact), float64(sin), 5e-7)
		require.InDelta(t, math.Cos(exact), float64(cos), 5e-7)
	}
	sin, cos := sincos(quarter)
	require.Equal(t, [2]float32{1, 0}, [2]float32{sin, cos})
	freq := frequencies(128)
	require.Len(t, freq, 64)
	for f, got := range freq {
		require.InDelta(t, math.Pow(500000, -float64(f)/64)*(1<<32)/(2*math.Pi), float64(got), 1.5)
	}
}

// Sharper inputs leave less attention to what was not planted.
func TestSharpness(t *testing.T) {
	kept := func(sharp float64) float64 {
		s := small
		s.Kind, s.Sharpness = Blocks, sharp
		a := exactAttention(t, s, 0)
		return a.kept(a.fit(t, s.Heads()[0].Fit))
	}
	blunt, usual, sharp := kept(0.4), kept(0), kept(1.5)
	require.Less(t, blunt, 0.95)
	require.Less(t, blunt, usual)
	require.Less(t, usual, sharp)
}
