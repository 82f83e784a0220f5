//go:build linux && (amd64 || arm64)

package cuda

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/runtimetest"
)

// standin builds the stand-in for the driver's library with options of testdata/libcuda.c.
func standin(t *testing.T, options ...string) string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler here to build the stand-in with; CI has one")
	}
	path := filepath.Join(t.TempDir(), "libcuda.so.1")
	args := append([]string{"-shared", "-fPIC", "-o", path, "testdata/libcuda.c"}, options...)
	out, err := exec.Command(cc, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// A driver that is there and fails is told apart from none, and each failure has its advice.
func TestDriverThatDoesNotStart(t *testing.T) {
	for option, c := range map[string]struct {
		kind   error
		advice string
	}{
		"-DINIT=100":   {device.ErrNoDevice, "check nvidia-smi and CUDA_VISIBLE_DEVICES, or use the emulator"},
		"-DINIT=34":    {device.ErrNoDevice, "take its folder out of LD_LIBRARY_PATH"},
		"-DINIT=2":     {device.ErrDevice, "free memory of the GPU"},
		"-DINIT=46":    {device.ErrDevice, "another process holds the GPU alone"},
		"-DINIT=101":   {device.ErrDevice, "does not start"},
		"-DINIT=802":   {device.ErrDevice, "nvidia-fabricmanager"},
		"-DINIT=803":   {device.ErrDevice, "restart the machine, or load the module again"},
		"-DINIT=804":   {device.ErrDevice, "take the folder compat out of LD_LIBRARY_PATH"},
		"-DINIT=999":   {device.ErrDevice, "see dmesg"},
		"-DINIT=12345": {device.ErrDevice, "12345"},
		"-DNO_INIT":    {device.ErrDevice, "lacks cuInit, so the NVIDIA driver is too old; update it"},
	} {
		_, err := openLibrary(standin(t, option))
		require.ErrorIs(t, err, c.kind, option)
		require.Equal(t, c.kind == device.ErrDevice, isDevice(err), option)
		require.ErrorContains(t, err, c.advice, option)
		require.NotContains(t, err.Error(), "\n", "one sentence")
	}
}

func isDevice(err error) bool { return strings.HasPrefix(err.Error(), device.ErrDevice.Error()) }

func TestLibraryThatIsThereAndCannotBeOpened(t *testing.T) {
	const missing = "libcuda.so.1: cannot open shared object file: No such file or directory"
	require.ErrorIs(t, openError("libcuda.so.1", missing), device.ErrNoDevice)
	require.ErrorIs(t, openError("libcuda.so.1", "Error loading shared library libcuda.so.1: No such file or directory"), device.ErrNoDevice)
	for _, text := range []string{"libcuda.so.1: file too short", "/usr/lib/libcuda.so.1: wrong ELF class: ELFCLASS32",
		"libnvidia-part.so.1: cannot open shared object file: No such file or directory"} {
		err := openError("libcuda.so.1", text)
		require.ErrorIs(t, err, device.ErrDevice, text)
		require.NotErrorIs(t, err, device.ErrNoDevice, text)
		require.ErrorContains(t, err, "install the driver again")
	}
}

// standinDevice opens the first GPU of a stand-in.
func standinDevice(t *testing.T, options ...string) (*gpu, error) {
	lib, err := openLibrary(standin(t, options...))
	require.NoError(t, err)
	return openDevice(lib, 0)
}

func TestInfoSaysWhatTheDriverCanDo(t *testing.T) {
	d, err := standinDevice(t, "-DGPUS=89", "-DCUDA=12060")
	require.NoError(t, err)
	i := d.Info()
	require.Equal(t, device.Info{Driver: "cuda", Name: "Stand-in 0", Major: 8, Minor: 9, Multiprocessors: 60, MemoryBytes: 16 << 30,
		MaxSharedBytes: 99 << 10, L2Bytes: 32 << 20, DriverVersion: "12.6"}, i)
	d, err = standinDevice(t, "-DGPUS=90", "-DCUDA=11080", "-DNO_TENSOR_MAPS")
	require.NoError(t, err)
	require.True(t, d.Info().NoTensorMaps)
	require.Equal(t, "11.8", d.Info().DriverVersion)
}

func TestGPUWithoutMemoryIsAnError(t *testing.T) {
	_, err := standinDevice(t, "-DRETAIN=2")
	require.ErrorIs(t, err, device.ErrOutOfMemory)
	require.NotErrorIs(t, err, device.ErrNoDevice)
	require.ErrorContains(t, err, "free memory of the GPU (nvidia-smi shows who holds it), or use another GPU")
}

// The driver reads what its CUDA version reads, and package runtime knows what that is.
func TestDriversReadWhatCheckTargetSays(t *testing.T) {
	for _, cuda := range []string{"11000", "11030", "11040", "11080", "12000", "12040", "12050", "12060", "12070", "12080", "13000"} {
		d, err := standinDevice(t, "-DGPUS=90", "-DCUDA="+cuda)
		require.NoError(t, err)
		for _, ptx := range []string{"7.0", "7.4", "7.8", "8.0", "8.4", "8.5", "8.6", "8.8", "9.0"} {
			_, err := d.LoadModule([]byte(".version " + ptx + "\n.target sm_80\n"))
			said := d.Info().CheckTarget("sm_80", ptx)
			require.Equal(t, err == nil, said == nil, "CUDA %s, PTX %s: %v, %v", d.Info().DriverVersion, ptx, err, said)
			if err != nil {
				require.ErrorIs(t, err, device.ErrUnsupported)
				require.ErrorContains(t, err, "the driver is too old for this version of PTX: update it\nptxas fatal : Unsupported .version "+ptx)
			}
		}
	}
}

// What was closed answers so, with the driver as with the emulator; a GPU runs the whole suite.
func TestUseAfterClose(t *testing.T) {
	runtimetest.Closed(t, func() device.Device {
		d, err := standinDevice(t)
		require.NoError(t, err)
		return d
	})
}

// Calls of a goroutine on the stream of each thread would be in no order.
func TestStreamOfEachThreadIsRefused(t *testing.T) {
	d, err := standinDevice(t)
	require.NoError(t, err)
	s := d.WrapStream(2)
	require.ErrorIs(t, s.Synchronize(), device.ErrBadCall)
	err = d.Fill(0x1000, 0, 4, s)
	require.ErrorIs(t, err, device.ErrBadCall)
	require.ErrorContains(t, err, "CU_STREAM_PER_THREAD")
	_, err = d.Enqueue(nil, s)
	require.ErrorIs(t, err, device.ErrBadCall)
	require.NoError(t, d.WrapStream(1).Synchronize(), "the legacy default stream by its name")
}
