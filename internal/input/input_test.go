package input

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/runtime/artifact"
)

func TestRead(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("dense", []byte("a file"), 0o600))
	require.NoError(t, os.WriteFile("mine", []byte("another"), 0o600))

	in, err := Read("dense")
	require.NoError(t, err)
	require.Contains(t, string(in.Source), "keep causal", "a bare name means the library, whatever lies in the folder")
	require.Empty(t, in.Path)
	in, err = Read("./dense")
	require.NoError(t, err)
	require.Equal(t, "a file", string(in.Source))
	in, err = Read("mine")
	require.NoError(t, err)
	require.Equal(t, "another", string(in.Source))
	_, err = Read("denze")
	require.ErrorContains(t, err, `no file and no library pattern "denze"`)
	require.ErrorContains(t, err, "did you mean dense?")

	file, src, _ := patterns.Source("dense")
	art, err := compile.Source(file, src, "", compile.Options{Target: "sm_80", DType: "f16", HeadDim: 32}, nil)
	require.NoError(t, err)
	data, err := art.Encode()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile("dense.minf", data, 0o600))
	in, err = Read("dense.minf")
	require.NoError(t, err)
	require.Nil(t, in.Source)
	require.Equal(t, 32, in.Artifact.Manifest.Builds[0].HeadDim)
	require.NoError(t, os.WriteFile("dense.minf", data[:len(data)-1], 0o600))
	_, err = Read("dense.minf")
	require.ErrorIs(t, err, artifact.ErrTruncated)

	large := filepath.Join(t.TempDir(), "large.minf")
	require.NoError(t, os.WriteFile(large, nil, 0o600))
	require.NoError(t, os.Truncate(large, maxInput+1))
	_, err = Read(large)
	require.ErrorContains(t, err, "larger than 64 MB")
}
