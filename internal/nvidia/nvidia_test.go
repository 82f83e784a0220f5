package nvidia

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/cache"
	"github.com/minfc/minfc/runtime/device"
)

// maker is a driver whose linker counts its work, and which takes the cubins that it says it takes.
type maker struct {
	linked int
	takes  string
}

func (m *maker) module() (string, error) {
	link := func() ([]byte, error) {
		m.linked++
		return []byte(m.takes), nil
	}
	load := func(cubin []byte) (string, error) {
		if string(cubin) != m.takes {
			return "", errors.New("no cubin of this GPU")
		}
		return "loaded", nil
	}
	return Module(device.Info{Name: "a GPU", Major: 9, DriverVersion: "12.4"}, []byte("ptx"), Driver[string]{Link: link, Load: load})
}

// What the cache has is taken, unless the driver does not: then it is made again, once.
func TestModuleIsLinkedOnce(t *testing.T) {
	t.Setenv(cache.FolderVariable, t.TempDir())
	m := &maker{takes: "first"}
	for _, want := range []struct {
		takes  string
		linked int
	}{{"first", 1}, {"first", 1}, {"second", 2}, {"second", 2}} {
		m.takes = want.takes
		got, err := m.module()
		require.NoError(t, err)
		require.Equal(t, "loaded", got)
		require.Equal(t, want.linked, m.linked)
	}
	os.Setenv(cache.FolderVariable, "off")
	_, err := m.module()
	require.NoError(t, err)
	require.Equal(t, 3, m.linked)
}

func TestCubinsAreOfAGPUAndADriver(t *testing.T) {
	i, seen := device.Info{Name: "a GPU", Major: 9, DriverVersion: "12.4"}, map[cache.Key]bool{}
	for _, change := range []func(){func() {}, func() { i.Name = "another" }, func() { i.Minor = 1 }, func() { i.DriverVersion = "12.6" }} {
		change()
		require.False(t, seen[CubinKey(i, []byte("ptx"), "linked")])
		seen[CubinKey(i, []byte("ptx"), "linked")] = true
	}
	require.False(t, seen[CubinKey(i, []byte("other ptx"), "linked")])
	i.Driver, i.Ordinal, i.MemoryBytes = "gorgonia", 3, 1
	require.True(t, seen[CubinKey(i, []byte("ptx"), "linked")], "both drivers, and all GPUs of a kind, share cubins")
}

func TestErrorsSayWhatToDo(t *testing.T) {
	err := WithLog(&Error{Call: "cuLinkAddData", Code: 222, Name: "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", Text: "too new"}, "line 1\n")
	require.ErrorIs(t, err, device.ErrUnsupported)
	require.NotErrorIs(t, err, device.ErrBadCall)
	require.EqualError(t, err, "cuda: cuLinkAddData: too new (CUDA_ERROR_UNSUPPORTED_PTX_VERSION, 222); the driver is too old for this version of PTX: update it\nline 1")
	other := errors.New("of another kind")
	require.Equal(t, other, WithLog(other, "line 1"))
}
