package ptxgen

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/llir/llvm/asm"
	"github.com/llir/llvm/ir"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const goldenDir = "../../testdata/ptxgen"

func parse(t testing.TB, text string) *ir.Module {
	t.Helper()
	m, err := asm.ParseString("in.ll", text)
	require.NoError(t, err)
	return m
}

func compileText(t testing.TB, text string) string {
	t.Helper()
	out, err := Compile(parse(t, text), Options{Target: "sm_80"})
	require.NoError(t, err)
	return string(out)
}

// eachGolden runs do on the sections of every file in dir.
func eachGolden(t *testing.T, dir string, do func(t *testing.T, path string, a *txtar.Archive)) {
	paths, err := filepath.Glob(filepath.Join(goldenDir, dir, "*.txtar"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			require.NoError(t, err)
			do(t, path, a)
		})
	}
}

func section(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// compareGolden compares got with a section, or rewrites it.
func compareGolden(t *testing.T, path string, a *txtar.Archive, name, got string) {
	t.Helper()
	if !*update {
		require.Equal(t, section(a, name), got, "run with -update to accept")
		return
	}
	var kept []txtar.File
	for _, f := range a.Files {
		if f.Name != name {
			kept = append(kept, f)
		}
	}
	a.Files = append(kept, txtar.File{Name: name, Data: []byte(got)})
	require.NoError(t, os.WriteFile(path, txtar.Format(a), 0o644))
}

func TestGolden(t *testing.T) {
	eachGolden(t, "ok", func(t *testing.T, path string, a *txtar.Archive) {
		got := compileText(t, section(a, "in.ll"))
		require.Equal(t, got, compileText(t, section(a, "in.ll")), "two compilations differ")
		compareGolden(t, path, a, "out.ptx", got)
	})
}

func TestRefused(t *testing.T) {
	eachGolden(t, "bad", func(t *testing.T, path string, a *txtar.Archive) {
		m := parse(t, section(a, "in.ll"))
		out, err := Compile(m, Options{Target: "sm_80"})
		require.Error(t, err)
		require.Nil(t, out)
		require.EqualError(t, Verify(m), err.Error(), "Verify and Compile disagree")
		compareGolden(t, path, a, "err", err.Error()+"\n")
	})
}

// TestClean: no failure of the printer hides in the text.
func TestClean(t *testing.T) {
	eachGolden(t, "ok", func(t *testing.T, path string, a *txtar.Archive) {
		out := section(a, "out.ptx")
		require.NotContains(t, out, "%!", "a formatting error in the output")
		require.NotContains(t, out, "internal:")
		require.NotContains(t, out, string(rune(mark)))
	})
}

// ptxas returns a command that assembles PTX for sm_80, or skips.
func ptxas(t *testing.T) string {
	if p := os.Getenv("PTXAS"); p != "" {
		return p
	}
	p, err := exec.LookPath("ptxas")
	if err != nil {
		t.Skip("no ptxas: set PTXAS or put it on the PATH; CI fetches one")
	}
	return p
}

func TestAssembles(t *testing.T) {
	tool := ptxas(t)
	eachGolden(t, "ok", func(t *testing.T, path string, a *txtar.Archive) {
		file := filepath.Join(t.TempDir(), "k.ptx")
		require.NoError(t, os.WriteFile(file, []byte(section(a, "out.ptx")), 0o644))
		out, err := exec.Command(tool, "-arch=sm_80", file, "-o", file+".cubin").CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
}

// TestAcceptedByLLVM keeps the inputs honest: what we accept is LLVM IR that LLVM accepts.
func TestAcceptedByLLVM(t *testing.T) {
	tool, err := exec.LookPath("llc-14")
	if err != nil {
		if tool, err = exec.LookPath("llc"); err != nil {
			t.Skip("no llc (Debian: llvm-14 or newer) on this machine; CI's machine has one")
		}
	}
	eachGolden(t, "ok", func(t *testing.T, path string, a *txtar.Archive) {
		cmd := exec.Command(tool, "-march=nvptx64", "-mcpu=sm_80", "-mattr=+ptx74", "-o", "-", "-")
		cmd.Stdin = strings.NewReader(section(a, "in.ll"))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		// An intrinsic LLVM does not know would become an ordinary call.
		require.Equal(t, 0, strings.Count(string(out), "call.uni"), "calls of functions LLVM does not know")
	})
}
