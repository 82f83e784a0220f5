package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/emu"
)

// throughLLC is the artifact with its PTX replaced by what LLVM makes of the same LLVM IR. Contraction of products and sums
// is switched off: then both follow the IR operation by operation, and the results must be the same bits.
func (c attentionCase) throughLLC(t *testing.T, llc string) *artifact.Artifact {
	var text string
	watch := &compile.Observer{Verify: true, Emit: func(form, s string) {
		if form == "llvm" {
			text = s
		}
	}}
	a, err := c.program.With(c.program.Pattern.ValuesAt(ir.BindConst, c.params)).Compile(c.options(), watch)
	require.NoError(t, err)
	in, out := filepath.Join(t.TempDir(), "kernel.ll"), filepath.Join(t.TempDir(), "kernel.ptx")
	require.NoError(t, os.WriteFile(in, []byte(text), 0o644))
	log, err := exec.Command(llc, "-march=nvptx64", "-mcpu=sm_80", "-mattr=+ptx74", "-nvptx-fma-level=0", in, "-o", out).CombinedOutput()
	require.NoError(t, err, "%s", log)
	ptx, err := os.ReadFile(out)
	require.NoError(t, err)
	a.Modules[0] = ptx
	return a
}

// LLVM's own compiler is the oracle for ours: from the same IR, the same output bits on the emulator.
func TestLLVMMakesTheSameOfTheIR(t *testing.T) {
	llc := os.Getenv("LLC")
	if llc == "" {
		found, err := exec.LookPath("llc")
		if err != nil {
			t.Skip("no llc (Debian: llvm-14 or newer) on this machine; CI's machine has one")
		}
		llc = found
	}
	dev := openEmulator(t, emu.Options{})
	for i, name := range []string{"dense", "a_shape", "strided", "dilated"}[campaign.Few(3, 0):] {
		for _, dim := range []int{64, 80, 128, 256}[:campaign.Few(2, 4)] {
			c := attentionCase{program: library(t, name), headDim: dim, dtype: []abi.DType{abi.BF16, abi.F16}[i%2], seed: uint64(dim),
				shape: qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 150, SeqK: 201, QOffset: 51}, params: settings[name][0]}
			t.Run(c.kernel(), func(t *testing.T) {
				in := c.input(t)
				ours, err := runOnce(t, dev, c.compile(t), c.host(in))
				require.NoError(t, err)
				theirs, err := runOnce(t, dev, c.throughLLC(t, llc), c.host(in))
				require.NoError(t, err)
				require.Equal(t, theirs.O, ours.O)
				require.Equal(t, theirs.LSE, ours.LSE)
			})
		}
	}
}
