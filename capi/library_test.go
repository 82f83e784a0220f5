//go:build cgo && linux && (amd64 || arm64)

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/compile"
)

// folder has what the tests build. It is gone when they end.
var folder string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "minfc-capi")
	if err != nil {
		panic(err)
	}
	folder = dir
	os.Setenv("MINFC_CACHE", "off") // of C programs, too
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// built is what C programs link with, made once.
var built = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "build", "-buildmode=c-shared", "-o", filepath.Join(folder, "libminfc.so"), ".").CombinedOutput()
	return string(out), err
})

// knows reads files, so that go test does not take the outcome of other ones from its cache: what compilers read it does not see.
func knows(t *testing.T, files ...string) {
	t.Helper()
	for _, name := range files {
		_, err := os.ReadFile(name)
		require.NoError(t, err)
	}
}

// cc compiles a C program beside the library, strictly, and gives its path.
func cc(t *testing.T, name string, source string, args ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds the library: all packages once more, as code for shared libraries")
	}
	compiler, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler here; CI has one")
	}
	knows(t, source, "minfc.h", "testdata/check.h")
	said, err := built()
	require.NoError(t, err, said)
	path := filepath.Join(folder, name)
	args = append([]string{"-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-I.", "-o", path, source}, args...)
	args = append(args, filepath.Join(folder, "libminfc.so"), "-Wl,-rpath,$ORIGIN", "-lm", "-lpthread")
	out, err := exec.Command(compiler, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

func runs(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// TestLibrary: a C program gets right numbers, named errors, and the same from many threads and many rounds.
func TestLibrary(t *testing.T) {
	program := cc(t, "check", "testdata/check.c", `-DVERSION="`+compile.Version+`"`)
	for _, name := range []string{"numbers", "reports", "stages", "workload", "plans", "fallback", "bad_specs", "bad_calls", "handles", "versions",
		"threads", "lengths", "given", "recall", "forks", "rounds"} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(program, name)
			cmd.Env = append(os.Environ(), "GOGC=20") // so that the heap shows what is held
			require.Empty(t, runs(t, cmd))
		})
	}
}

// TestExample: the program of examples/c is what docs/c.md shows, and what it prints there is what it prints.
func TestExample(t *testing.T) {
	const source = "../examples/c/attention.c"
	page, err := os.ReadFile("../docs/c.md")
	require.NoError(t, err)
	text, err := os.ReadFile(source)
	require.NoError(t, err)
	_, body, found := strings.Cut(string(text), "*/\n")
	require.True(t, found)
	require.Contains(t, string(page), "```c\n"+body+"```")
	for _, line := range strings.Split(strings.TrimSpace(runs(t, exec.Command(cc(t, "attention", source), "emu"))), "\n") {
		require.Contains(t, string(page), line)
	}
}

// TestHeaderIsCPlusPlus: C++ programs include the header, too.
func TestHeaderIsCPlusPlus(t *testing.T) {
	compiler, err := exec.LookPath("c++")
	if err != nil {
		t.Skip("no C++ compiler here")
	}
	cmd := exec.Command(compiler, "-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c++", "-")
	cmd.Stdin = strings.NewReader("#include \"minfc.h\"\nint main() { minfc_shape s; minfc_shape_init(&s); return s.batch; }\n")
	runs(t, cmd)
}

// TestStandInGPUs: what the library says of drivers and GPUs that no CI has.
func TestStandInGPUs(t *testing.T) {
	program := cc(t, "gpus", "testdata/gpus.c")
	knows(t, "../runtime/cuda/testdata/libcuda.c")
	for name, options := range map[string][]string{
		"two_gpus":   {"-DGPUS=90,90"},
		"no_gpu":     {"-DINIT=100"},
		"broken":     {"-DINIT=999"},
		"old":        {"-DGPUS=75"},
		"no_memory":  {"-DALLOC=2"},
		"no_library": nil,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(program, name)
			if options == nil {
				if exec.Command("sh", "-c", "ldconfig -p | grep -q libcuda.so.1").Run() == nil {
					t.Skip("the NVIDIA driver is here")
				}
			} else {
				args := append([]string{"-shared", "-fPIC", "-o", filepath.Join(dir, "libcuda.so.1"), "../runtime/cuda/testdata/libcuda.c"}, options...)
				runs(t, exec.Command("cc", args...))
				cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+dir)
			}
			require.Empty(t, runs(t, cmd))
		})
	}
}
