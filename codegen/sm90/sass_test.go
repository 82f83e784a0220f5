package sm90

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ptxgen"
)

// toolNamed is the program that an environment variable names, or the one on the PATH.
func toolNamed(t *testing.T, variable, name string) string {
	if p := os.Getenv(variable); p != "" {
		return p
	}
	p, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s: set %s or put it on the PATH; CI fetches one", name, variable)
	}
	return p
}

// sass is what ptxas makes of the kernel, an instruction a line.
func (k lowered) sass(t *testing.T, ptxas, nvdisasm string) []string {
	ptx, err := ptxgen.Compile(k.Module, ptxgen.Options{Target: "sm_90a"})
	require.NoError(t, err)
	in, out := filepath.Join(t.TempDir(), "kernel.ptx"), filepath.Join(t.TempDir(), "kernel.cubin")
	require.NoError(t, os.WriteFile(in, ptx, 0o644))
	log, err := exec.Command(ptxas, "-arch=sm_90a", in, "-o", out).CombinedOutput()
	require.NoError(t, err, "%s", log)
	text, err := exec.Command(nvdisasm, "-c", out).Output()
	require.NoError(t, err)
	return strings.Split(string(text), "\n")
}

// ptxas orders what stands in a basic block as it likes. What it must leave: the exponentials between the two waits of a stage where
// they are to run beside the second product, every step of the products, and one thread for the copies.
func TestMachineCode(t *testing.T) {
	ptxas, nvdisasm := toolNamed(t, "PTXAS", "ptxas"), toolNamed(t, "NVDISASM", "nvdisasm")
	eachKernel(t, func(t *testing.T, k lowered) {
		t.Parallel()
		counts, waits, between := map[string]int{}, []string{}, 0
		for _, line := range k.sass(t, ptxas, nvdisasm) {
			for _, op := range []string{"HGMMA", "USETMAXREG", "LDL", "STL", "BRA.U.ANY", "CALL"} {
				if strings.Contains(line, " "+op) {
					counts[op]++
				}
			}
			if _, n, found := strings.Cut(line, "WARPGROUP.DEPBAR.LE gsb0, "); found {
				waits = append(waits, n[:3])
			}
			if len(waits) > 0 && waits[len(waits)-1] == "0x1" && strings.Contains(line, "MUFU.EX2") {
				between++
			}
		}
		qk, pv := k.products()
		require.Equal(t, map[string]int{"HGMMA": qk*k.headDim/16 + pv*k.keys/16, "USETMAXREG": 2}, counts)
		want := []string{"0x0", "0x1", "0x0"} // of the first stage, of the others
		if k.overlap {
			want = append(want, "0x0") // of the last product
		}
		require.Equal(t, want, waits)
		if k.overlap {
			require.Equal(t, k.keys/2+2, between)
		}
	})
}
