package emu

import (
	"encoding/binary"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/device"
)

// TestLoadErrors: what the emulator cannot run is refused by name when the module loads, with its line.
func TestLoadErrors(t *testing.T) {
	const prefix = header + ".visible .entry k(.param .u64 p)\n{\n.reg .pred %p<4>; .reg .b16 %h<4>; .reg .b32 %r<4>; .reg .b64 %rd<4>; .reg .f32 %f<4>;\n"
	cases := []struct{ text, want string }{
		{"tcgen05.fence::before_thread_sync;", "line 8: instruction tcgen05.fence::before_thread_sync is not supported by the emulator\n\ttcgen05.fence::before_thread_sync;"},
		{"add.f64 %rd1, %rd1, %rd1;", "line 8: add wants a type that the emulator knows"},
		{"add.sat.s32 %r1, %r1, %r1;", "line 8: instruction add.sat.s32 is not supported"},
		{"add.u32 %r1, %rd1, %r1;", "line 8: register %rd1 holds 64 bits, add.u32 wants 32 bits there"},
		{"add.u32 %r1, %r9, %r1;", "line 8: %r9 is not declared"},
		{"add.u32 %r1, %r2;", "line 8: found 2 operands, add.u32 wants 3"},
		{"add.u32 5, %r2, %r3;", "found the number 5, add.u32 wants a register of 32 bits there"},
		{"mov.f32 %f1, 0;", "found the number 0, mov.f32 wants a float such as 0f00000000"},
		{"add.u32 %r1, %r2, 1.5;", "found the number 1.5, add.u32 wants an integer"},
		{"ld.global.u32 %r1, [%r2];", "address register %r2 holds 32 bits, global addresses have 64 bits"},
		{"ld.global.v4.u32 {%r1, %r2}, [%rd2];", "found 2 registers in the list, ld.global.v4.u32 wants 4"},
		{"ld.global.v4.u64 {%rd1,%rd1,%rd1,%rd1}, [%rd2];", "found an access of 32 bytes, ld.global.v4.u64 moves 1 to 16"},
		{"ld.param.u32 %r1, [p+0x7fffffffffffffff];", "are outside the parameters"},
		{"ld.local.u32 %r1, [%rd2];", "modifier .local of ld is not supported"},
		{"ld.param.u32 %r1, [q];", `found "q", ld.param wants a parameter's name in brackets`},
		{"ld.param.u32 %r1, [p+6];", "4 bytes at offset 6 are outside the parameters, which have 8 bytes"},
		{"cp.async.cg.shared.global [%r1, {%r2}], [%rd1], 16;", "wants an address in brackets"},
		{"cp.async.cg.shared.global [%r1], [%rd1], 8;", "found a copy of 8 bytes, cp.async.cg copies 16 and cp.async.ca 4, 8 or 16"},
		{"cp.async.bulk.commit_group;", "instruction cp.async.bulk.commit_group needs .target sm_90a, found sm_80"},
		{"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f1,%f1,%f1,%f1}, {%r1,%r1,%r1,%r1}, {%r1,%r1}, {%f1,%f1,%f1,%f1};", "which knows m16n8k16"},
		{"bra $nowhere;", "label $nowhere is not declared"},
		{"$a: $a: ret;", "line 8: label $a stands twice in one scope"},
		{"@%r1 ret;", `line 8: found "%r1", wanted a declared predicate register`},
		{"add.u32 %r1, %r2 %r3;", `line 8: found "%r3", wanted ","`},
		{"add.u32 %r1, %r2, #;", `line 8: found the character '#', which PTX does not use`},
		{"ret; /* open", "line 8: the comment that starts here has no end"},
		{"setp.lo.s32 %p1, %r1, %r2;", "comparison .lo.s32 is not supported"},
		{"cvt.f32.s32 %f1, %r1;", "cvt wants one of .rn"},
		{"add.u32 %r1, !%r2, %r3;", "found !%r2, only predicates can be negated"},
		{"atom.add.u32 %r1, [%rd1], 1;", "atomics are 32- or 64-bit and in global or shared memory"},
		{".local .b8 depot[4];", `found ".local", wanted a directive that the emulator knows`},
	}
	r := newRig(t, Options{})
	for _, c := range cases {
		_, err := r.dev.LoadModule([]byte(prefix + c.text + "\nret;\n}\n"))
		require.ErrorContains(t, err, c.want, c.text)
	}
	_, err := r.dev.LoadModule([]byte(prefix + "frob %r1;\nadd.u32 %r1, %r1, %r1;\nfrob.x;\n}\n"))
	require.ErrorContains(t, err, "line 8: instruction frob is")
	require.ErrorContains(t, err, "line 10: instruction frob.x is", "all bad statements are reported")
	_, err = newRig(t, Options{Capability: 80}).dev.LoadModule([]byte(strings.Replace(prefix, "sm_80", "sm_90a", 1) + "ret;\n}\n"))
	require.ErrorContains(t, err, "found PTX for sm_90a, the device is sm_80")
}

// TestLLC runs a kernel as LLVM's llc 14 prints it, made from a loop-free function with a vector parameter.
func TestLLC(t *testing.T) {
	ptx, err := os.ReadFile("testdata/llc/phi.ptx")
	require.NoError(t, err)
	r := newRig(t, Options{})
	out := r.empty(256)
	args := encodeArgs([]any{out, 40, float32(0.125), 0})
	args[3] = words(9, 9, 7, 9)
	require.NoError(t, r.function(string(ptx)).Launch(launchOf([3]uint32{1, 1, 1}, [3]uint32{64, 1, 1}, 256), args, nil))
	value := func(tid int) uint32 {
		x := tid ^ 33
		if x < 40 {
			x = x * 7 >> 2 / 3
		}
		return uint32(math.Exp2(float64(x) / 8))
	}
	for i, v := range unwords(r.download(out, 256)) {
		require.Equal(t, value(i^1), v, "thread %d", i)
	}
}

// FuzzLoad: no text makes the loader panic, and nothing that loads makes the execution panic.
func FuzzLoad(f *testing.F) {
	llc, err := os.ReadFile("testdata/llc/phi.ptx")
	require.NoError(f, err)
	f.Add(string(llc))
	for _, c := range aluCases {
		f.Add(header + ".visible .entry k(.param .u64 p)\n{ .reg .pred %p<9>; .reg .b32 %r<9>; .reg .f32 %f<9>; .reg .b16 %h<9>; .reg .b64 %rd<9>;\n" + c.text + "\n}")
	}
	f.Add(warpKernel("{ .reg .b32 t; mov.u32 t, 1; $x: bra.uni $x; } shfl.sync.up.b32 %r0|%p1, %r1, 1, 0, -1; vote.sync.all.pred %p1, !%p1, -1;"))
	f.Add(warpKernel("cp.async.cg.shared.global.L2::128B [%r1+-8], [%rd1], 16, %r2; bfi.b32 %r1, %r2, 3, 4, 5; atom.global.cas.b32 %r1, [%rd1], 1, 2;"))
	f.Add(ringKernel)
	f.Add(hopperKernel(exchange, oneBar+loadBox+waitBox+writeBox+storeBox+"setmaxnreg.dec.sync.aligned.u32 56; elect.sync %r6|%p1, -1; stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r2], {%r1};"))
	f.Add(hopperKernel("", "mbarrier.init.shared.b64 [%r3], 1; cp.async.mbarrier.arrive.shared.b64 [%r3]; mbarrier.inval.shared.b64 [%r3]; mbarrier.test_wait.shared.b64 %p1, [%r3], %rd2; fence.proxy.async; prefetch.tensormap [%rd1+64];"))
	r := newRig(f, Options{Budget: 2000, Workers: 1, Seed: 1})
	buf := r.upload(make([]byte, 4096))
	tm := r.tensorMap(device.TensorMap{Base: buf, Dims: []uint64{64, 32}, Strides: []uint64{128}, Box: []uint32{64, 8}})
	f.Fuzz(func(t *testing.T, src string) {
		m, err := r.dev.LoadModule([]byte(src))
		if err != nil {
			return
		}
		for _, k := range m.(*module).kernels {
			args := make([][]byte, len(k.params))
			for i, p := range k.params {
				args[i] = make([]byte, p.size)
				switch p.size {
				case 8:
					binary.LittleEndian.PutUint64(args[i], uint64(buf))
				case device.TensorMapBytes:
					copy(args[i], tm)
				}
			}
			err := (&function{&module{dev: r.dev}, k}).Launch(launchOf([3]uint32{1, 1, 1}, [3]uint32{40, 1, 1}, 4096), args, nil)
			if err != nil {
				require.NotContains(t, err.Error(), "internal:")
			}
		}
	})
}

func TestMemory(t *testing.T) {
	r := newRig(t, Options{MemoryBytes: 1 << 20})
	_, err := r.dev.Alloc(1<<20 + 1)
	require.ErrorIs(t, err, device.ErrOutOfMemory)
	p := r.empty(1 << 20)
	require.Zero(t, p%256)
	_, err = r.dev.Alloc(1)
	require.ErrorIs(t, err, device.ErrOutOfMemory)
	require.NoError(t, r.dev.Free(p))
	require.ErrorContains(t, r.dev.Free(p), "is already freed")
	q := r.empty(64)
	require.NotEqual(t, p, q, "an address is used once")
	require.ErrorContains(t, r.dev.Free(q+8), "which no allocation starts at")
	require.NoError(t, r.dev.Fill(q, 3, 60, nil))
	require.ErrorContains(t, r.dev.CopyToHost(make([]byte, 64), q, nil), "output byte 60 of 64 was never written")
	require.ErrorContains(t, r.dev.CopyToHost(make([]byte, 65), q, nil), "outside an allocation of 64 bytes")
	require.ErrorContains(t, r.dev.CopyToDevice(p, []byte{1}, nil), "freed")

	lenient := newRig(t, Options{AllowUnwritten: true})
	require.Equal(t, []byte{0xff, 0xff}, lenient.download(lenient.empty(2), 2))

	require.NoError(t, r.dev.Close())
	_, err = r.dev.Alloc(1)
	require.ErrorIs(t, err, device.ErrClosed)
}
