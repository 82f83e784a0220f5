package emu

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/device"
)

// ringKernel: warp 0 loads tiles of 8 rows of 128 bytes into a ring of three stages, warps 1 and 2 add them up, tile j with
// the weight j+1. Each of their threads adds a 16-byte piece.
var ringKernel = header90 + `.visible .entry k(.param .align 64 .b8 tm[128], .param .u64 out, .param .u32 tiles)
{
	.reg .pred %p<8>; .reg .b32 %r<40>; .reg .b64 %rd<8>;
	mov.u32 %r1, %tid.x; mov.u32 %r2, smem; shr.u32 %r3, %r1, 5; and.b32 %r4, %r1, 31;
	ld.param.u32 %r5, [tiles];
	setp.ne.u32 %p1, %r1, 0;
	@%p1 bra $ready;
	mbarrier.init.shared::cta.b64 [%r2+3072], 1; mbarrier.init.shared::cta.b64 [%r2+3080], 1; mbarrier.init.shared::cta.b64 [%r2+3088], 1;
	mbarrier.init.shared::cta.b64 [%r2+3096], 2; mbarrier.init.shared::cta.b64 [%r2+3104], 2; mbarrier.init.shared::cta.b64 [%r2+3112], 2;
	fence.mbarrier_init.release.cluster;
$ready:
	bar.sync 0;
	mov.u32 %r6, 0; mov.u32 %r7, 0; mov.u32 %r8, 0;                  // tile, stage, parity
	setp.ne.u32 %p1, %r3, 0;
	@%p1 bra $consume;
	mov.b64 %rd1, tm; cvta.param.u64 %rd1, %rd1;
	elect.sync %r9|%p2, 0xffffffff;
	@!%p2 bra $end;
	prefetch.tensormap [%rd1];
$produce:
	mad.lo.u32 %r10, %r7, 8, %r2; mad.lo.u32 %r11, %r7, 1024, %r2;
	add.u32 %r12, %r10, 3072; add.u32 %r13, %r10, 3096; xor.b32 %r14, %r8, 1;
$empty:
	mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r13], %r14;
	@!%p3 bra $empty;
	mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r12], 1024;
	shl.b32 %r15, %r6, 3; mov.u32 %r16, 0; mov.u64 %rd2, 0x14F0000000000000;
	cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%r11], [%rd1, {%r16, %r15}], [%r12], %rd2;
	add.u32 %r6, %r6, 1; add.u32 %r7, %r7, 1;
	setp.eq.u32 %p4, %r7, 3; @%p4 mov.u32 %r7, 0; @%p4 xor.b32 %r8, %r8, 1;
	setp.lt.u32 %p4, %r6, %r5; @%p4 bra $produce;
	bra $end;
$consume:
	sub.u32 %r20, %r1, 32; shr.u32 %r21, %r20, 3; and.b32 %r22, %r20, 7; xor.b32 %r22, %r22, %r21;
	shl.b32 %r21, %r21, 7; mad.lo.u32 %r21, %r22, 16, %r21; add.u32 %r21, %r21, %r2;     // where its piece lies
	mov.u32 %r23, 0; mov.u32 %r24, 0; mov.u32 %r25, 0; mov.u32 %r26, 0;
	setp.eq.u32 %p5, %r4, 0;
$sum:
	mad.lo.u32 %r10, %r7, 8, %r2; mad.lo.u32 %r11, %r7, 1024, %r21; add.u32 %r12, %r10, 3072; add.u32 %r13, %r10, 3096;
$full:
	mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r12], %r8;
	@!%p3 bra $full;
	ld.shared.v4.u32 {%r30, %r31, %r32, %r33}, [%r11];
	bar.warp.sync 0xffffffff;
	@%p5 mbarrier.arrive.shared::cta.b64 _, [%r13];
	add.u32 %r6, %r6, 1; add.u32 %r7, %r7, 1;
	mad.lo.u32 %r23, %r30, %r6, %r23; mad.lo.u32 %r24, %r31, %r6, %r24; mad.lo.u32 %r25, %r32, %r6, %r25; mad.lo.u32 %r26, %r33, %r6, %r26;
	setp.eq.u32 %p4, %r7, 3; @%p4 mov.u32 %r7, 0; @%p4 xor.b32 %r8, %r8, 1;
	setp.lt.u32 %p4, %r6, %r5; @%p4 bra $sum;
	ld.param.u64 %rd3, [out]; mad.wide.u32 %rd3, %r20, 16, %rd3; st.global.v4.u32 [%rd3], {%r23, %r24, %r25, %r26};
$end:
	ret;
}
`

const ringTiles = 8

// runRing runs a kernel with the arguments of ringKernel.
func runRing(t *testing.T, ptx string, o Options) (out []uint32, in []byte, err error) {
	r := newRig(t, o)
	in = randomBytes(1024 * ringTiles)
	dst := r.upload(make([]byte, 1024))
	tm := r.tensorMap(device.TensorMap{Base: r.upload(in), Dims: []uint64{64, 8 * ringTiles}, Strides: []uint64{128}, Box: []uint32{64, 8}, Swizzle: 128})
	err = r.launch(ptx, 1, 96, 4096, tm, dst, ringTiles)
	return unwords(r.download(dst, 1024)), in, err
}

func (r rig) tensorMap(m device.TensorMap) []byte {
	m.DType = "bf16"
	b, err := r.dev.EncodeTensorMap(m)
	require.NoError(r.t, err)
	require.Len(r.t, b, device.TensorMapBytes)
	return b
}

func randomBytes(n int) []byte {
	rng, b := rand.New(rand.NewPCG(uint64(n), 1)), make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// TestTensorRing: whatever the order of the warps and the copies, producer and consumers pass the right data on.
func TestTensorRing(t *testing.T) {
	for seed := range uint64(40) {
		got, in, err := runRing(t, ringKernel, Options{Seed: seed})
		require.NoError(t, err, "seed %d", seed)
		want := make([]uint32, 256)
		for i, v := range unwords(in) {
			want[i%256] += v * uint32(i/256+1)
		}
		require.Equal(t, want, got, "seed %d", seed)
	}
}

// wrongRings are changes of ringKernel that each break one rule of its protocol.
var wrongRings = []struct{ name, from, to, want string }{
	{"no wait for full", "@!%p3 bra $full;", "", "is still in flight: wait for its mbarrier | which was never written"},
	{"wrong parity of full", "[%r12], %r8;", "[%r12], %r14;", "%r14, which was never written"},
	{"full is waited for one phase early", "mov.u32 %r23, 0;", "mov.u32 %r23, 0; mov.u32 %r8, 1;", "is still in flight: wait for its mbarrier | which was never written"},
	{"no wait for empty", "@!%p3 bra $empty;", "", "arrives 1 times, which is more than wanted at the mbarrier at offset 3072 of"},
	{"stage released before it is read", "ld.shared.v4.u32 {%r30, %r31, %r32, %r33}, [%r11];\n\tbar.warp.sync 0xffffffff;\n\t@%p5 mbarrier.arrive.shared::cta.b64 _, [%r13];",
		"@%p5 mbarrier.arrive.shared::cta.b64 _, [%r13]; ld.shared.v4.u32 {%r30, %r31, %r32, %r33}, [%r11];", "shared memory at offset"},
	{"stage released by one lane for all", "bar.warp.sync 0xffffffff;", "", "and another lane arrives for it at an mbarrier: execute bar.warp.sync between"},
	{"mbarriers not published to copies", "fence.mbarrier_init.release.cluster;", "", "whose initialisation at PTX line 12 is not visible to copies: execute fence.mbarrier_init.release.cluster"},
	{"mbarriers not published to warps", "bar.sync 0;", "", "with no barrier between | which is not initialised"},
	{"empty wants too many arrivals", "[%r2+3096], 2;", "[%r2+3096], 3;", "whose phase 0 still wants 1 of 3 arrivals and 0 bytes, PTX line 28: mbarrier.try_wait"},
	{"all lanes release", "@%p5 mbarrier", "mbarrier", "ends phase 1 of the mbarrier at offset 3096 of shared memory (initialised at PTX line 13), and nobody has waited for the phase before"},
	{"too few bytes expected", "_, [%r12], 1024;", "_, [%r12], 512;", "whose phase 0 still wants 0 of 1 arrivals and -512 bytes"},
	{"too many bytes expected", "_, [%r12], 1024;", "_, [%r12], 2048;", "deadlock: no warp can run\n\twarp 0: waits for the mbarrier at offset 3096 of shared memory (initialised at PTX line 13), whose phase 0 still wants 2 of 2 arrivals and 0 bytes, PTX line 28"},
	{"arrival without bytes", "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r12], 1024;", "mbarrier.arrive.shared::cta.b64 _, [%r12];", "is still in flight: wait for its mbarrier"},
	{"twice as many arrivals as expected", "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r12], 1024;", "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r12], 1024; mbarrier.arrive.shared::cta.b64 _, [%r12];", "whose phase 0 still wants 0 of 1 arrivals and 1024 bytes"},
	{"every lane loads", "@!%p2 bra $end;", "", "arrives 1 times, which is more than wanted at the mbarrier at offset 3072"},
	{"destination misaligned", "cp.async.bulk.tensor.2d", "add.u32 %r11, %r11, 64; cp.async.bulk.tensor.2d", "copies a box at offset 64 of shared memory, which is not a multiple of 128"},
	{"destination out of bounds", "cp.async.bulk.tensor.2d", "add.u32 %r11, %r11, 3200; cp.async.bulk.tensor.2d", "copies 1024 bytes at offset 3200 of shared memory, outside the block's 4096 bytes"},
	{"destination over mbarriers", "cp.async.bulk.tensor.2d", "add.u32 %r11, %r11, 3072; cp.async.bulk.tensor.2d", "writes shared memory at offset 3072, which holds the mbarrier initialised by warp 0 at PTX line 12"},
	{"mbarrier misaligned", "add.u32 %r12, %r10, 3072; add.u32 %r13, %r10, 3096; xor", "add.u32 %r12, %r10, 3076; add.u32 %r13, %r10, 3096; xor", "which is not a multiple of 8"},
	{"mbarrier not initialised", "mbarrier.init.shared::cta.b64 [%r2+3096], 2;", "", "uses the mbarrier at offset 3096 of shared memory, which is not initialised"},
	{"mbarrier initialised twice", "[%r2+3104], 2;", "[%r2+3096], 2;", "writes shared memory at offset 3096, which holds the mbarrier"},
	{"mbarrier overwritten", "$ready:", "st.shared.u32 [%r2+3092], %r1;\n$ready:", "writes shared memory at offset 3092, which holds the mbarrier initialised by warp 0 at PTX line 12"},
	{"mbarrier read", "$ready:", "ld.shared.u32 %r9, [%r2+3076];\n$ready:", "reads shared memory at offset 3076, which holds the mbarrier initialised by warp 0 at PTX line 12"},
	{"mbarrier invalidated in use", "prefetch", "bar.warp.sync 0; prefetch", "is executed by lanes that its member mask does not name"},
	{"count of 0", "[%r2+3072], 1;", "[%r2+3072], 0;", "initialises an mbarrier for 0 arrivals, wanted 1 to 1048575"},
	{"parity 2", "xor.b32 %r14, %r8, 1;", "xor.b32 %r14, %r8, 2;", "waits for the parity 2, wanted 0 or 1"},
	{"wrong rank", "tensor.2d", "tensor.3d", "found 2 coordinates, cp.async.bulk.tensor.3d"},
	{"not a tensor map", "mov.b64 %rd1, tm; cvta.param.u64 %rd1, %rd1;", "ld.param.u64 %rd1, [out];", "where there is none: pass what the device's EncodeTensorMap gives"},
	{"tensor map misaligned", "cvta.param.u64 %rd1, %rd1;", "add.u64 %rd1, %rd1, 32;", "which is not a multiple of 64"},
	{"generic writes without a fence", "$ready:\n\tbar.sync 0;", "$ready:\n\tmad.lo.u32 %r9, %r1, 4, %r2; st.shared.u32 [%r9], %r1;\n\tbar.sync 0;",
		"overwrites shared memory at offset 0 through the async proxy, written by warp 0 at PTX line 16, which executed no fence.proxy.async between"},
	{"the fence of another thread", "$ready:\n\tbar.sync 0;", "$ready:\n\tmad.lo.u32 %r9, %r1, 4, %r2; st.shared.u32 [%r9], %r1; setp.ne.u32 %p2, %r4, 3; @%p2 fence.proxy.async.shared::cta;\n\tbar.sync 0;",
		"overwrites shared memory at offset 12 through the async proxy"},
	{"the fence before the write", "$ready:\n\tbar.sync 0;", "$ready:\n\tfence.proxy.async.shared::cta; mad.lo.u32 %r9, %r1, 4, %r2; st.shared.u32 [%r9], %r1;\n\tbar.sync 0;", "overwrites shared memory at offset 0 through the async proxy"},
	{"the fence after the barrier", "bar.sync 0;", "mad.lo.u32 %r9, %r1, 4, %r2; st.shared.u32 [%r9], %r1;\n\tbar.sync 0; setp.ne.u32 %p2, %r3, 0; @%p2 fence.proxy.async;", "overwrites shared memory at offset"},
}

func TestWrongRings(t *testing.T) {
	for _, c := range wrongRings {
		t.Run(c.name, func(t *testing.T) {
			ptx := strings.Replace(ringKernel, c.from, c.to, 1)
			require.NotEqual(t, ringKernel, ptx)
			for seed := uint64(0); seed < 20; seed += 2 { // odd seeds let some copies land early, and may hide the mistake
				err := ringError(t, ptx, seed)
				requireFault(t, err, c.want, seed)
			}
		})
	}
}

// requireFault wants an error with one of several texts: which mistake shows first may depend on the order of the warps.
func requireFault(t *testing.T, err error, want string, seed uint64) {
	require.Error(t, err, "seed %d", seed)
	for _, w := range strings.Split(want, " | ") {
		if strings.Contains(err.Error(), w) {
			return
		}
	}
	require.Contains(t, err.Error(), want, "seed %d", seed)
}

// ringError is what goes wrong when the kernel loads or runs.
func ringError(t *testing.T, ptx string, seed uint64) error {
	r := newRig(t, Options{Seed: seed})
	if _, err := r.dev.LoadModule([]byte(ptx)); err != nil {
		return err
	}
	_, _, err := runRing(t, ptx, Options{Seed: seed})
	return err
}

// TestFencedWrites: what ordinary instructions wrote may be overwritten by a load after each writer's fence.
func TestFencedWrites(t *testing.T) {
	ptx := strings.Replace(ringKernel, "$ready:\n\tbar.sync 0;", `$ready:
	mad.lo.u32 %r9, %r1, 4, %r2; st.shared.u32 [%r9], %r1; fence.proxy.async.shared::cta;
	bar.sync 0;`, 1)
	require.NotEqual(t, ringKernel, ptx)
	for seed := range uint64(10) {
		_, _, err := runRing(t, ptx, Options{Seed: seed})
		require.NoError(t, err)
	}
}

// TestTensorBoxes loads boxes of every rank and swizzle at random places, also outside the tensor, stores the boxes that start in it or
// beyond it to another tensor, and compares both with plain indexing.
func TestTensorBoxes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for rank := 1; rank <= 5; rank++ {
		for _, swizzle := range []int{0, 32, 64, 128} {
			for range 8 {
				testTensorBox(t, rng, rank, swizzle)
			}
		}
	}
}

func testTensorBox(t *testing.T, rng *rand.Rand, rank, swizzle int) {
	m := device.TensorMap{Swizzle: swizzle, Dims: make([]uint64, rank), Box: make([]uint32, rank), Strides: make([]uint64, rank-1)}
	at, width := make([]int, rank), swizzle/2
	if swizzle == 0 {
		width = 8 * (1 + rng.IntN(8))
	}
	stride, rows := uint64(0), 1
	for d := range rank {
		m.Dims[d], m.Box[d] = uint64(1+rng.IntN(6)), uint32(1+rng.IntN(4))
		if d == 0 {
			m.Dims[0], m.Box[0] = uint64(width+rng.IntN(30)), uint32(width)
			stride = (2*m.Dims[0] + 47) / 16 * 16
		} else {
			m.Strides[d-1] = stride
			stride *= m.Dims[d]
			rows *= int(m.Box[d])
		}
		at[d] = rng.IntN(int(m.Dims[d])+int(m.Box[d])+2) - int(m.Box[d]) - 1
	}
	size := 2 * width * rows
	r := newRig(t, Options{Seed: rng.Uint64()})
	in := randomBytes(int(stride))
	raw, back := r.upload(make([]byte, size)), r.upload(make([]byte, len(in)))
	m.Base = r.upload(in)
	source := r.tensorMap(m)
	m.Base = back
	args := []any{source, r.tensorMap(m), raw, size}
	for d := range 5 {
		x := 0
		if d < rank {
			x = at[d]
		}
		args = append(args, x)
	}
	stores := slices.Min(at) >= 0 // the hardware takes no others
	require.NoError(t, r.launch(boxKernel(rank, size, stores), 1, 32, (size+127)/128*128+128, args...), "%+v at %v", m, at)
	wantRaw, wantBack := boxByHand(m, at, in, width, rows)
	if !stores {
		clear(wantBack)
	}
	require.Equal(t, wantRaw, r.download(raw, size), "%+v at %v", m, at)
	require.Equal(t, wantBack, r.download(back, len(in)), "%+v at %v", m, at)
}

// boxByHand gives the box as it lies in shared memory at a multiple of 1024, and a tensor of zeros with the box in it.
func boxByHand(m device.TensorMap, at []int, in []byte, width, rows int) (raw, back []byte) {
	raw, back = make([]byte, 2*width*rows), make([]byte, len(in))
	mask := map[int]int{0: 0, 32: 1, 64: 3, 128: 7}[m.Swizzle]
	for e := range width * rows {
		inside, from, rest := true, 0, e
		for d := range m.Dims {
			x := at[d] + rest%int(m.Box[d])
			rest /= int(m.Box[d])
			inside = inside && x >= 0 && x < int(m.Dims[d])
			if d == 0 {
				from += 2 * x
			} else {
				from += x * int(m.Strides[d-1])
			}
		}
		if inside {
			to := 2*e ^ 2*e>>7&mask<<4
			copy(raw[to:to+2], in[from:])
			copy(back[from:from+2], in[from:])
		}
	}
	return raw, back
}

// boxKernel loads a box, copies shared memory as it is to raw, and, if asked, stores the box through the second map.
func boxKernel(rank, size int, stores bool) string {
	coords, last := names("%r", 10, rank), ""
	if stores {
		last = fmt.Sprintf(`cp.async.bulk.tensor.%dd.global.shared::cta.tile.bulk_group [%%rd2, %s], [%%r2];
	cp.async.bulk.commit_group;
	cp.async.bulk.wait_group 0;`, rank, coords)
	}
	return header90 + fmt.Sprintf(`.visible .entry k(.param .align 64 .b8 src[128], .param .align 64 .b8 dst[128], .param .u64 raw, .param .u32 size,
	.param .u32 c0, .param .u32 c1, .param .u32 c2, .param .u32 c3, .param .u32 c4)
{
	.reg .pred %%p<4>; .reg .b32 %%r<32>; .reg .b64 %%rd<8>;
	.shared .align 8 .b64 full;
	mov.u32 %%r1, %%tid.x; mov.u32 %%r2, smem;
	ld.param.u32 %%r10, [c0]; ld.param.u32 %%r11, [c1]; ld.param.u32 %%r12, [c2]; ld.param.u32 %%r13, [c3]; ld.param.u32 %%r14, [c4];
	mov.b64 %%rd1, src; cvta.param.u64 %%rd1, %%rd1; mov.b64 %%rd2, dst; cvta.param.u64 %%rd2, %%rd2;
	setp.ne.u32 %%p1, %%r1, 0;
	@%%p1 bra $wait;
	mbarrier.init.shared.b64 [full], 1;
	fence.mbarrier_init.release.cluster;
	mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [full], %[3]d;
	cp.async.bulk.tensor.%[1]dd.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%%r2], [%%rd1, %[2]s], [full];
	mbarrier.arrive.shared.b64 %%rd4, [full], 1;
$wait:
	bar.warp.sync -1;
$again:
	mbarrier.test_wait.parity.shared.b64 %%p2, [full], 0;
	@%%p2 bra $copy;
	nanosleep.u32 20;
	bra $again;
$copy:
	ld.param.u64 %%rd3, [raw]; mov.u32 %%r20, %%r1; mul.lo.u32 %%r21, %%r1, 4; cvt.u64.u32 %%rd5, %%r21; add.u64 %%rd3, %%rd3, %%rd5; add.u32 %%r22, %%r2, %%r21;
$words:
	setp.ge.u32 %%p3, %%r21, %[3]d; @%%p3 bra $store;
	ld.shared.u32 %%r23, [%%r22]; st.global.u32 [%%rd3], %%r23;
	add.u32 %%r21, %%r21, 128; add.u32 %%r22, %%r22, 128; add.u64 %%rd3, %%rd3, 128; bra $words;
$store:
	@%%p1 bra $end;
	%[4]s
$end:
	ret;
}
`, rank, coords, size, last)
}

// TestNarrowRows: what the hardware does with rows narrower than the swizzle is not known here, so it is refused.
func TestNarrowRows(t *testing.T) {
	r := newRig(t, Options{})
	in := r.upload(make([]byte, 4096))
	m := r.tensorMap(device.TensorMap{Base: in, Dims: []uint64{64, 8}, Strides: []uint64{128}, Box: []uint32{32, 8}, Swizzle: 128})
	err := r.launch(ringKernel, 1, 96, 4096, m, in, ringTiles)
	require.ErrorContains(t, err, "copies rows of 64 bytes with a swizzle of 128: the emulator knows only rows as wide as the swizzle")
	require.Equal(t, "emutmap\x01", string(m[:8]))
	require.EqualValues(t, 2, binary.LittleEndian.Uint32(m[8:]))
}
