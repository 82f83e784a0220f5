package emu

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the expected outputs in testdata")

// TestFaults runs the kernels of testdata/faults: each does one thing wrong and must get exactly one message. The
// kernel gets a buffer of 256 bytes whose first half is written.
func TestFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/faults/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			require.NoError(t, err)
			opt := launchLine(t, string(ar.Comment))
			got := runFaulty(t, string(ar.Files[0].Data), opt)
			for seed := 1; seed <= 20; seed++ { // no order of the warps may hide the fault
				opt["seed"] = seed
				runFaulty(t, string(ar.Files[0].Data), opt)
			}
			if *update {
				ar.Files[1].Data = []byte(got)
				require.NoError(t, os.WriteFile(file, txtar.Format(ar), 0o644))
			}
			require.Equal(t, string(ar.Files[1].Data), got)
		})
	}
}

// launchLine reads the numbers of `launch: block=32 shared=1024`.
func launchLine(t *testing.T, comment string) map[string]int {
	opt := map[string]int{}
	for _, line := range strings.Split(comment, "\n") {
		rest, ok := strings.CutPrefix(line, "launch: ")
		if !ok {
			continue
		}
		for _, f := range strings.Fields(rest) {
			key, value, _ := strings.Cut(f, "=")
			n, err := strconv.Atoi(value)
			require.NoError(t, err)
			opt[key] = n
		}
	}
	return opt
}

func runFaulty(t *testing.T, ptx string, opt map[string]int) string {
	r := newRig(t, Options{Budget: int64(opt["budget"]), Seed: uint64(opt["seed"])})
	buf := r.empty(256)
	require.NoError(t, r.dev.Fill(buf, 1, 128, nil))
	if opt["free"] != 0 {
		require.NoError(t, r.dev.Free(buf))
	}
	err := r.launch(ptx, 1, opt["block"], opt["shared"], buf)
	var f *Fault
	require.True(t, errors.As(err, &f), "found %v, wanted a fault", err)
	return fmt.Sprintln(err)
}

// TestStraddle: a vector access may not start inside an allocation and end outside, but a copy of fewer bytes may.
func TestStraddle(t *testing.T) {
	const text = header + `.visible .entry k(.param .u64 buf)
{
	.reg .b32 %%r<8>; .reg .b64 %%rd<4>;
	ld.param.u64 %%rd1, [buf]; mov.u32 %%r1, smem; mov.u32 %%r2, 4;
	ld.global.v4.u32 {%%r3,%%r4,%%r5,%%r6}, [%%rd1];
	%s
	ret;
}`
	r := newRig(t, Options{})
	buf := r.upload(make([]byte, 100))
	for _, bad := range []string{"ld.global.v4.u32 {%r3,%r4,%r5,%r6}, [%rd1+96];", "st.global.v2.u32 [%rd1+96], {%r3,%r4};", "cp.async.cg.shared.global [%r1], [%rd1+96], 16;"} {
		require.ErrorContains(t, r.launch(fmt.Sprintf(text, bad), 1, 1, 64, buf), "are outside an allocation of 100 bytes", bad)
	}
	require.NoError(t, r.launch(fmt.Sprintf(text, "cp.async.cg.shared.global [%r1], [%rd1+96], 16, %r2; cp.async.wait_all;"), 1, 1, 64, buf))
}
