package index

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// listBench runs one kernel on the emulator.
type listBench struct {
	t      testing.TB
	dev    device.Device
	kernel *lower.Kernel
	fn     device.Function
}

func newListBench(t testing.TB, k *lower.Kernel, err error) listBench {
	require.NoError(t, err)
	ptx, err := ptxgen.Compile(k.Module, ptxgen.Options{Target: "sm_80"})
	require.NoError(t, err)
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	return listBench{t, dev, k, loadFunction(t, dev, ptx, k.Entry)}
}

func loadFunction(t testing.TB, dev device.Device, ptx []byte, entry string) device.Function {
	m, err := dev.LoadModule(ptx)
	require.NoError(t, err)
	f, err := m.Function(entry)
	require.NoError(t, err)
	return f
}

// words are 32-bit words in device memory.
func words[T uint32 | int32 | float32](b listBench, v []T) device.Ptr {
	buf := make([]byte, 0, 4*len(v))
	for _, x := range v {
		switch x := any(x).(type) {
		case uint32:
			buf = binary.LittleEndian.AppendUint32(buf, x)
		case int32:
			buf = binary.LittleEndian.AppendUint32(buf, uint32(x))
		case float32:
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(x))
		}
	}
	p := b.empty(len(v))
	require.NoError(b.t, b.dev.CopyToDevice(p, buf, nil))
	return p
}

func (b listBench) empty(words int) device.Ptr {
	p, err := b.dev.Alloc(int64(4 * max(words, 1)))
	require.NoError(b.t, err)
	return p
}

// read copies n words back; all must have been written.
func (b listBench) read(p device.Ptr, n int) []uint32 {
	buf := make([]byte, 4*n)
	require.NoError(b.t, b.dev.CopyToHost(buf, p, nil))
	out := make([]uint32, n)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(buf[4*i:])
	}
	return out
}

type listArgs map[string]any

func (b listBench) encode(a listArgs) [][]byte {
	var out [][]byte
	for _, p := range b.kernel.Params {
		switch v := a[p.Name].(type) {
		case nil: // a null pointer or 0
			n := map[string]int{"ptr": 8, "i64": 8, "i32": 4, "f32": 4}[p.Type]
			out = append(out, make([]byte, n))
		case device.Ptr:
			out = append(out, binary.LittleEndian.AppendUint64(nil, uint64(v)))
		case int64:
			out = append(out, binary.LittleEndian.AppendUint64(nil, uint64(v)))
		case int:
			out = append(out, binary.LittleEndian.AppendUint32(nil, uint32(v)))
		case float32:
			out = append(out, binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
		}
	}
	return out
}

func (b listBench) launch(x, y int, a listArgs) {
	l := device.Launch{Grid: [3]uint32{uint32(x), uint32(y), 1}, Block: [3]uint32{uint32(b.kernel.Threads), 1, 1}, SharedBytes: b.kernel.SharedBytes}
	require.NoError(b.t, b.fn.Launch(l, b.encode(a), nil))
}

// TestListKernelsPtxas has NVIDIA's assembler compile the kernels that choose and list: no spills. Set PTXAS.
func TestListKernelsPtxas(t *testing.T) {
	ptxas := os.Getenv("PTXAS")
	if ptxas == "" {
		t.Skip("no ptxas: set PTXAS; CI fetches one")
	}
	for name, k := range listKernels(t) {
		ptx, err := ptxgen.Compile(k.Module, ptxgen.Options{Target: "sm_80"})
		require.NoError(t, err)
		file := filepath.Join(t.TempDir(), "k.ptx")
		require.NoError(t, os.WriteFile(file, ptx, 0o644))
		for _, arch := range []string{"sm_80", "sm_90"} {
			out, err := exec.Command(ptxas, "-v", "-arch="+arch, "-o", os.DevNull, file).CombinedOutput()
			require.NoError(t, err, "%s: %s", name, out)
			require.Contains(t, string(out), " 0 bytes spill stores, 0 bytes spill loads", name)
			t.Logf("%s: %s", name, out)
		}
	}
}

func listKernels(t *testing.T) map[string]*lower.Kernel {
	out := map[string]*lower.Kernel{}
	add := func(name string, k *lower.Kernel, err error) {
		require.NoError(t, err)
		out[name] = k
	}
	k, err := SelectTop(false)
	add("select_top", k, err)
	k, err = RunSums(false)
	add("run_sums", k, err)
	k, err = RunDistances(false)
	add("run_distances", k, err)
	k, err = Runs()
	add("runs", k, err)
	k, err = Columns()
	add("columns", k, err)
	k, err = Decide(false)
	add("decide", k, err)
	for _, d := range []int{16, 128, 208, 256} {
		k, err = Compact(d, false)
		add(fmt.Sprintf("compact %d", d), k, err)
	}
	return out
}

// marker fills memory that a kernel must leave alone, or may.
const marker = uint32(0xa5a5a5a5)

// marked is memory that has been written.
func (b listBench) marked(n int) device.Ptr {
	p := b.empty(n)
	require.NoError(b.t, b.dev.Fill(p, byte(marker&255), int64(4*n), nil))
	return p
}
