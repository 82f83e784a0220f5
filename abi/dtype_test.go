package abi

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Every type has a size, and no other name is one.
func TestParseDType(t *testing.T) {
	for _, want := range DTypes() {
		got, err := ParseDType(want.String())
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, 2, got.Size(), "kernels move 16-bit elements in pairs")
	}
	for _, name := range []string{"", "BF16", "fp8"} {
		_, err := ParseDType(name)
		require.ErrorContains(t, err, "is not supported: want bf16 or f16", "%q", name)
	}
}

func TestCheckHeadDim(t *testing.T) {
	for d := -16; d <= 512; d++ {
		if err := CheckHeadDim(d); d >= 16 && d <= 256 && d%16 == 0 {
			require.NoError(t, err, d)
		} else {
			require.ErrorContains(t, err, "is not supported: want a multiple of 16 from 16 to 256", d)
		}
	}
}
