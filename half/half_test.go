package half

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
)

// TestEveryValueSurvives: decoding and encoding all 65536 patterns is the identity, except for NaN payloads.
func TestEveryValueSurvives(t *testing.T) {
	for _, f := range []abi.DType{abi.BF16, abi.F16} {
		src := make([]byte, 2<<16)
		for i := range 1 << 16 {
			src[2*i], src[2*i+1] = byte(i), byte(i>>8)
		}
		wide := make([]float32, 1<<16)
		require.NoError(t, Decode(f, wide, src))
		back, err := Encode(f, wide)
		require.NoError(t, err)
		for i, v := range wide {
			if v != v {
				continue
			}
			require.Equal(t, src[2*i:2*i+2], back[2*i:2*i+2], "%s pattern %#x", f, i)
		}
	}
}

func TestRounding(t *testing.T) {
	for _, c := range []struct {
		f        abi.DType
		in, want float64
	}{
		{abi.BF16, 1 + 1./256, 1},            // a tie, down to even
		{abi.BF16, 1 + 3./256, 1 + 4./256},   // a tie, up to even
		{abi.BF16, 1 + 1.01/256, 1 + 2./256}, // above the tie
		{abi.BF16, math.MaxFloat32, math.Inf(1)},
		{abi.BF16, -3, -3},
		{abi.F16, 1 + 1./2048, 1},
		{abi.F16, 1 + 3./2048, 1 + 4./2048},
		{abi.F16, 65520, math.Inf(1)},
	} {
		b, err := Encode(c.f, []float32{float32(c.in)})
		require.NoError(t, err)
		got := make([]float32, 1)
		require.NoError(t, Decode(c.f, got, b))
		require.Equal(t, c.want, float64(got[0]), "%s of %v", c.f, c.in)
	}
}

func TestNaNStaysNaN(t *testing.T) {
	for _, f := range []abi.DType{abi.BF16, abi.F16} {
		// The payload's only bit is lost by truncation: what remains must not read as infinity.
		b, err := Encode(f, []float32{math.Float32frombits(0x7f800001)})
		require.NoError(t, err)
		got := make([]float32, 1)
		require.NoError(t, Decode(f, got, b))
		require.True(t, got[0] != got[0], "%s", f)
	}
}

func TestUnknownFormat(t *testing.T) {
	_, err := Encode("fp8", nil)
	require.ErrorContains(t, err, `unknown 16-bit format "fp8"`)
}
