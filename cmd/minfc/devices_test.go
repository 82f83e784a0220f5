package main

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// standin DIR OPTION... builds a stand-in for the NVIDIA driver's library in a new folder: standin old -DGPUS=90 -DCUDA=11080. Its source
// says what the options are.
func standin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: standin DIR [OPTION]...")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.Mkdir(dir, 0o755))
	build := append([]string{"-shared", "-fPIC", "-o", filepath.Join(dir, "libcuda.so.1"), "../../runtime/cuda/testdata/libcuda.c"}, args[1:]...)
	if out, err := exec.Command("cc", build...).CombinedOutput(); err != nil {
		ts.Fatalf("%v: %s", err, out)
	}
}
