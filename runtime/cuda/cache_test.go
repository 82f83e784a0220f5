//go:build linux && (amd64 || arm64)

package cuda

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/cache"
	"github.com/minfc/minfc/internal/nvidia"
)

// TestMain keeps the tests out of the user's cache.
func TestMain(m *testing.M) {
	os.Setenv(cache.FolderVariable, "off")
	os.Exit(m.Run())
}

const somePTX = ".version 7.4\n.target sm_80\n"

// compiles loads a module and says whether the driver's compiler was asked.
func compiles(t *testing.T, d *gpu, ptx string) bool {
	t.Helper()
	m, err := d.LoadModule([]byte(ptx))
	require.NoError(t, err)
	require.NoError(t, m.Unload())
	return m.Log() == "compiled"
}

func cubins(t *testing.T, dir string) []string {
	files, err := filepath.Glob(filepath.Join(dir, "cubin-*"))
	require.NoError(t, err)
	return files
}

// A module is compiled once for a kind of GPU and a driver, also by another process, which opens a device of its own.
func TestModulesAreCompiledOnce(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(cache.FolderVariable, dir)
	d, err := standinDevice(t, "-DLINKER", "-DCUDA=12040")
	require.NoError(t, err)
	require.True(t, compiles(t, d, somePTX))
	require.False(t, compiles(t, d, somePTX))
	require.True(t, compiles(t, d, somePTX+"// another module\n"))
	require.Len(t, cubins(t, dir), 2)
	for _, other := range []struct {
		gpu, driver string
		again       bool
	}{
		{"-DGPUS=80", "-DCUDA=12040", false},
		{"-DGPUS=80", "-DCUDA=12060", true},
		{"-DGPUS=90", "-DCUDA=12040", true},
	} {
		d, err := standinDevice(t, "-DLINKER", other.gpu, other.driver)
		require.NoError(t, err)
		require.Equal(t, other.again, compiles(t, d, somePTX), other)
		require.False(t, compiles(t, d, somePTX), other)
	}
	t.Setenv(cache.FolderVariable, "off")
	require.True(t, compiles(t, d, somePTX))
}

// A cubin that the driver does not take, such as one for another GPU, is compiled again, and so is one that was damaged.
func TestCubinsThatDoNotLoadAreMadeAgain(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(cache.FolderVariable, dir)
	d, err := standinDevice(t, "-DLINKER")
	require.NoError(t, err)
	require.True(t, compiles(t, d, somePTX))
	for _, bad := range []string{"cubin sm_90\x00", "no cubin at all\x00"} {
		cache.Default().Put(nvidia.CubinKey(d.info, []byte(somePTX), "linked"), []byte(bad))
		require.True(t, compiles(t, d, somePTX), "%q", bad)
		require.False(t, compiles(t, d, somePTX), "%q", bad)
	}
	require.NoError(t, os.WriteFile(cubins(t, dir)[0], []byte("torn"), 0o600))
	require.True(t, compiles(t, d, somePTX))
	require.False(t, compiles(t, d, somePTX))
}

// Errors of the compiler are the same with the cache, and nothing is kept of them.
func TestFailedModulesAreNotKept(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(cache.FolderVariable, dir)
	d, err := standinDevice(t, "-DLINKER", "-DCUDA=12040")
	require.NoError(t, err)
	for range 2 {
		_, err = d.LoadModule([]byte(".version 9.0\n.target sm_80\n"))
		require.ErrorContains(t, err, "the driver is too old for this version of PTX: update it\nptxas fatal : Unsupported .version 9.0")
	}
	require.Empty(t, cubins(t, dir))
}

// Code whose registers move between warps does not go to the linker, which would leave them where they are: it is compiled by ptxas, where
// there is one, and the cache, else by the driver.
func TestCodeThatIsNotLinked(t *testing.T) {
	dir, ptx := t.TempDir(), somePTX+"setmaxnreg.inc.sync.aligned.u32 240;\n"
	t.Setenv(cache.FolderVariable, dir)
	t.Setenv(nvidia.PtxasVariable, "off")
	d, err := standinDevice(t, "-DLINKER", "-DGPUS=80")
	require.NoError(t, err)
	loads := func() {
		m, err := d.LoadModule([]byte(ptx))
		require.NoError(t, err)
		require.Empty(t, m.Log(), "it was linked")
		require.NoError(t, m.Unload())
	}
	loads()
	require.Empty(t, cubins(t, dir))

	ptxas, calls := filepath.Join(dir, "ptxas"), filepath.Join(dir, "calls")
	program := func(cubin string) {
		text := "#!/bin/sh\necho \"$1 $2\" >> " + calls + "\nprintf '" + cubin + "\\000' > \"$5\"\n"
		require.NoError(t, os.WriteFile(ptxas, []byte(text), 0o700))
		t.Setenv(nvidia.PtxasVariable, ptxas)
	}
	program("cubin sm_80")
	loads()
	loads()
	said, err := os.ReadFile(calls)
	require.NoError(t, err)
	require.Equal(t, "-arch sm_80\n", string(said), "once")
	require.Len(t, cubins(t, dir), 1)

	ptx += "// another module\n"
	program("cubin sm_100") // of a toolkit that the driver is too old for
	loads()
	t.Setenv(nvidia.PtxasVariable, filepath.Join(dir, "nothing"))
	ptx += "// and another\n"
	loads()
}
