//go:build linux && (amd64 || arm64)

package cuda

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Memory is known by its GPU, and memory that the driver did not give is not known.
func TestLocate(t *testing.T) {
	lib, err := openLibrary(standin(t, "-DGPUS=90,80"))
	require.NoError(t, err)
	var gpus []*gpu
	for i := range 2 {
		d, err := openDevice(lib, i)
		require.NoError(t, err)
		gpus = append(gpus, d)
	}
	for i, d := range gpus {
		p, err := d.Alloc(100)
		require.NoError(t, err)
		for _, asked := range gpus {
			ordinal, known := asked.Locate(p + 50)
			require.True(t, known)
			require.Equal(t, i, ordinal)
		}
	}
	_, known := gpus[0].Locate(0x1000)
	require.False(t, known)
}
