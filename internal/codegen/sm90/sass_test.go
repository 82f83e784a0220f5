package sm90

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/ir"
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

// machineCode has what ptxas makes of kernels, by their PTX: it takes a second of each, and tests share many.
var machineCode sync.Map

// sassOf is what ptxas makes of a kernel, an instruction a line.
func sassOf(t *testing.T, k *lower.Kernel, ptxas, nvdisasm string) []string {
	ptx, err := ptxgen.Compile(k.Module, ptxgen.Options{Target: "sm_90a"})
	require.NoError(t, err)
	once, _ := machineCode.LoadOrStore(string(ptx), sync.OnceValues(func() ([]string, error) { return assemble(ptx, ptxas, nvdisasm) }))
	lines, err := once.(func() ([]string, error))()
	require.NoError(t, err)
	return lines
}

func assemble(ptx []byte, ptxas, nvdisasm string) ([]string, error) {
	dir, err := os.MkdirTemp("", "minfc-sass-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "kernel.ptx"), filepath.Join(dir, "kernel.cubin")
	if err := os.WriteFile(in, ptx, 0o644); err != nil {
		return nil, err
	}
	if log, err := exec.Command(ptxas, "-arch=sm_90a", in, "-o", out).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, log)
	}
	text, err := exec.Command(nvdisasm, "-c", out).Output()
	return strings.Split(string(text), "\n"), err
}

// ptxas orders what stands in a basic block as it likes. What it must leave: the exponentials between the two waits of a stage where
// they are to run beside the second product, every step of the products, and one thread for the copies.
func TestMachineCode(t *testing.T) {
	ptxas, nvdisasm := toolNamed(t, "PTXAS", "ptxas"), toolNamed(t, "NVDISASM", "nvdisasm")
	kinds := []string{"ranges", "runs and columns", "ranges" + withLengths, "blocks", "runs"}[:campaign.Cases(2, 3, 5)]
	someKernels(t, kinds, []int{64, 128, 192, 256, 16, 80}[:campaign.Cases(1, 4, 6)], func(t *testing.T, k lowered) {
		t.Parallel()
		counts, waits, between := map[string]int{}, []string{}, []int{}
		code := sassOf(t, k.Kernel, ptxas, nvdisasm)
		requireQIsKept(t, code)
		for _, line := range code {
			for _, op := range []string{"HGMMA", "USETMAXREG", "LDL", "STL", "BRA.U.ANY", "CALL"} {
				if strings.Contains(line, " "+op) {
					counts[op]++
				}
			}
			if _, n, found := strings.Cut(line, "WARPGROUP.DEPBAR.LE gsb0, "); found {
				waits, between = append(waits, n[:3]), append(between, 0)
			}
			if len(waits) > 0 && strings.Contains(line, "MUFU.EX2") {
				between[len(between)-1]++
			}
		}
		qk, pv := k.products()
		require.Equal(t, map[string]int{"HGMMA": qk*k.headDim/16 + pv*k.keys/16, "USETMAXREG": 2}, counts)
		want := []string{"0x0", "0x1", "0x0"} // of the first stage, of the others
		if k.overlap && k.queued() {
			want = append(want, "0x1", "0x0") // of the first stage of the next tile
		}
		if k.overlap {
			want = append(want, "0x0") // of the last product
		}
		want = append(want, "0x0", "0x0") // of tiles that are computed again
		require.Equal(t, want, waits)
		if k.overlap {
			require.Equal(t, k.keys/2+2, between[1])
		}
	})
}

// requireQIsKept looks for a fault of ptxas (12.4 to 13.0): in a loop that computes one product after the other, the fragments of P got
// the registers of Q's, which every round wants. So no register that a first product reads may be where P is packed.
func requireQIsKept(t *testing.T, code []string) {
	reads := map[string]bool{} // of first products: their chains start from zero
	var chain string           // accumulators of the chain
	for _, line := range code {
		m := registerProduct.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if strings.Contains(line, ", RZ, !UPT") {
			chain = m[1]
		}
		if m[1] == chain {
			reads[m[2]] = true
		}
	}
	for _, line := range code {
		if m := packed.FindStringSubmatch(line); m != nil {
			require.False(t, reads[m[1]], "P is packed into a register of Q: %s", line)
		}
	}
}

var (
	registerProduct = regexp.MustCompile(`HGMMA\S* (R[0-9]+), (R[0-9]+),`)
	packed          = regexp.MustCompile(`F2FP\S*PACK_AB (R[0-9]+),`)

	labelLine = regexp.MustCompile(`^(\.L_x_[0-9]+):`)
	codeLine  = regexp.MustCompile(`/\*[0-9a-f]{4,}\*/\s+(\S.*);`)
	jumpTo    = regexp.MustCompile("BRA.*`\\((\\.L_x_[0-9]+)\\)")
)

// loop is the instructions of an innermost loop with products; loops of tiles that are computed again, whose warpgroups meet in them,
// are not asked for.
type loop struct{ products, all int }

func loopsOf(lines []string) (out []loop) {
	var code []string
	var ranges [][2]int
	labels := map[string]int{}
	for _, line := range lines {
		if m := labelLine.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			labels[m[1]] = len(code)
		} else if m := codeLine.FindStringSubmatch(line); m != nil {
			code = append(code, m[1])
			if to := jumpTo.FindStringSubmatch(m[1]); to != nil {
				if start, above := labels[to[1]]; above {
					ranges = append(ranges, [2]int{start, len(code)})
				}
			}
		}
	}
	products := func(r [2]int) (n int) {
		for _, x := range code[r[0]:r[1]] {
			if strings.Contains(x, "HGMMA") {
				n++
			}
		}
		return n
	}
	meets := func(r [2]int) bool {
		return slices.ContainsFunc(code[r[0]:r[1]], func(x string) bool { return strings.Contains(x, "BAR.SYNC") })
	}
	ranges = slices.DeleteFunc(ranges, func(r [2]int) bool { return products(r) == 0 || meets(r) })
	for _, r := range ranges {
		inner := func(x [2]int) bool { return x != r && x[0] >= r[0] && x[1] <= r[1] }
		if !slices.ContainsFunc(ranges, inner) {
			out = append(out, loop{products(r), r[1] - r[0]})
		}
	}
	return out
}

// A kernel in a group is to be as fast as alone: its loop is the same but for a few instructions, whatever the others need, and however
// many sections share its code.
func TestGroupsHaveTheLoopsOfKernelsAlone(t *testing.T) {
	ptxas, nvdisasm := toolNamed(t, "PTXAS", "ptxas"), toolNamed(t, "NVDISASM", "nvdisasm")
	for _, d := range []int{64, 128, 192, 256, 32}[:campaign.Cases(0, 2, 5)] { // with -short none, they take seconds each
		t.Run(fmt.Sprint(d), func(t *testing.T) {
			t.Parallel()
			cfg := lower.Config{HeadDim: d, DType: abi.BF16, Target: "sm_90a"}
			var schedules []*ir.Schedule
			var alone []loop
			for _, name := range []string{"ranges", "blocks", "runs and columns"} {
				s := &ir.Schedule{Name: "test", Order: ir.OrderLongestFirst, Segments: causal[name]}
				s.Tile = Backend{}.Tile(s, d)
				k, err := Backend{}.Attention(s, cfg)
				require.NoError(t, err)
				schedules, alone = append(schedules, s), append(alone, loopsOf(sassOf(t, k, ptxas, nvdisasm))...)
			}
			for _, more := range [][]*ir.Schedule{nil, {schedules[0], schedules[0]}} {
				k, err := Backend{}.Group(append(slices.Clone(schedules), more...), true, cfg)
				require.NoError(t, err)
				lines := sassOf(t, k, ptxas, nvdisasm)
				checkRegisters(t, lines, memberShapes(schedules, d))
				compareLoops(t, alone, loopsOf(lines), memberShapes(schedules, d), d)
			}
		})
	}
}

// checkRegisters finds spills, and warpgroups that keep or want other registers than they should.
func checkRegisters(t *testing.T, lines []string, bodies []memberShape) {
	got, want := 0, 0
	for _, line := range lines {
		for _, op := range []string{" LDL", " STL", " BRA.U.ANY", " CALL"} {
			require.NotContains(t, line, op)
		}
		if strings.Contains(line, "USETMAXREG") {
			got++
		}
	}
	for _, c := range bodies {
		want += 2 + min(1, c.idle())
	}
	require.Equal(t, want, got)
}

func compareLoops(t *testing.T, alone, grouped []loop, bodies []memberShape, headDim int) {
	steps, found := map[int]bool{}, 0 // of the products of a round
	for _, c := range bodies {
		steps[headDim/16+c.keys/16] = true
	}
	for n := range steps {
		want, got := rounds(alone, n), rounds(grouped, n)
		require.Len(t, got, len(want))
		for i := range want {
			require.LessOrEqual(t, float64(got[i]), 1.01*float64(want[i])+4)
			found++
		}
	}
	require.Equal(t, len(bodies), found)
}

// rounds are the sizes of loops with so many products; ptxas lays the waits of others out so that they look like loops around parts of it.
func rounds(loops []loop, products int) (sizes []int) {
	for _, l := range loops {
		if l.products == products {
			sizes = append(sizes, l.all)
		}
	}
	slices.Sort(sizes)
	return sizes
}
