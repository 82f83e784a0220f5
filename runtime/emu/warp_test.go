package emu

import (
	"math"
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"
)

// warpKernel stores %r0 of every thread; the body starts with %r1 = tid, %r2 = smem, %r3 = smem+4*tid.
func warpKernel(body string) string {
	return header + `.visible .entry k(.param .u64 out)
{
	.reg .pred %p<8>;
	.reg .b32 %r<32>;
	.reg .f32 %f<16>;
	.reg .b64 %rd<8>;
	mov.u32 %r1, %tid.x;
	mov.u32 %r2, smem;
	mad.lo.u32 %r3, %r1, 4, %r2;
` + body + `
	ld.param.u64 %rd1, [out];
	mov.u32 %r30, %ctaid.x;
	mov.u32 %r31, %ntid.x;
	mad.lo.u32 %r30, %r30, %r31, %r1;
	mad.wide.u32 %rd1, %r30, 4, %rd1;
	st.global.u32 [%rd1], %r0;
	ret;
}
`
}

// outputs runs a body and returns what every thread stored.
func outputs(t *testing.T, o Options, body string, grid, block, shared int) []uint32 {
	r := newRig(t, o)
	out := r.empty(4 * grid * block)
	require.NoError(t, r.launch(warpKernel(body), grid, block, shared, out))
	return unwords(r.download(out, 4*grid*block))
}

func TestShfl(t *testing.T) {
	cases := []struct {
		text string
		from func(lane int) (int, bool) // the definition, by hand for each case
	}{
		{"bfly.b32 %r0|%p1, %r5, 5, 31", func(l int) (int, bool) { return l ^ 5, true }},
		{"bfly.b32 %r0|%p1, %r5, 16, 0x0f", func(l int) (int, bool) { return l ^ 16, l^16 <= 15 }},
		{"idx.b32 %r0|%p1, %r5, 9, 31", func(int) (int, bool) { return 9, true }},
		{"idx.b32 %r0|%p1, %r5, 3, 0x1807", func(l int) (int, bool) { return l&24 | 3, true }},
		{"up.b32 %r0|%p1, %r5, 1, 0", func(l int) (int, bool) { return l - 1, l >= 1 }},
		{"up.b32 %r0|%p1, %r5, 2, 0x1800", func(l int) (int, bool) { return l - 2, l&7 >= 2 }},
		{"down.b32 %r0|%p1, %r5, 4, 31", func(l int) (int, bool) { return l + 4, l+4 < 32 }},
		{"down.b32 %r0|%p1, %r5, 4, 0x1807", func(l int) (int, bool) { return l + 4, l&7+4 < 8 }},
	}
	for _, c := range cases {
		// bit 16 of the result says whether the source was in range
		got := outputs(t, Options{}, "add.u32 %r5, %r1, 100; shfl.sync."+c.text+", 0xffffffff; @%p1 or.b32 %r0, %r0, 0x10000;", 1, 32, 0)
		for l := range 32 {
			j, ok := c.from(l)
			want := uint32(100 + l)
			if ok {
				want = uint32(100+j) | 0x10000
			}
			require.Equal(t, want, got[l], "%s lane %d", c.text, l)
		}
	}
}

func TestVoteAndRedux(t *testing.T) {
	const odd = "and.b32 %r5, %r1, 1; setp.eq.u32 %p1, %r5, 1;"
	cases := []struct {
		text string
		want uint32
	}{
		{odd + "vote.sync.ballot.b32 %r0, %p1, 0xffffffff;", 0xaaaaaaaa},
		{odd + "vote.sync.ballot.b32 %r0, !%p1, -1;", 0x55555555},
		{odd + "vote.sync.any.pred %p2, %p1, -1; selp.u32 %r0, 1, 0, %p2;", 1},
		{odd + "vote.sync.all.pred %p2, %p1, -1; selp.u32 %r0, 1, 0, %p2;", 0},
		{odd + "vote.sync.uni.pred %p2, %p1, -1; selp.u32 %r0, 1, 0, %p2;", 0},
		{"redux.sync.add.u32 %r0, %r1, -1;", 496},
		{"sub.s32 %r5, %r1, 7; redux.sync.min.s32 %r0, %r5, -1;", 0xfffffff9},
		{"activemask.b32 %r0;", 0xffffffff},
		{"mov.u32 %r0, %lanemask_lt; popc.b32 %r0, %r0; redux.sync.add.u32 %r0, %r0, -1;", 496},
	}
	for _, c := range cases {
		for l, got := range outputs(t, Options{}, c.text, 1, 32, 0) {
			require.Equal(t, c.want, got, "%s lane %d", c.text, l)
		}
	}
}

// TestDivergence runs a Collatz loop, whose lanes leave at different times and meet again for a shuffle.
func TestDivergence(t *testing.T) {
	got := outputs(t, Options{}, `
	add.u32 %r5, %r1, 1;
	mov.u32 %r6, 0;
$loop:
	setp.eq.u32 %p1, %r5, 1;
	@%p1 bra $done;
	and.b32 %r7, %r5, 1;
	setp.eq.u32 %p2, %r7, 0;
	@%p2 bra $even;
	mad.lo.u32 %r5, %r5, 3, 1;
	bra.uni $next;
$even:
	shr.u32 %r5, %r5, 1;
$next:
	add.u32 %r6, %r6, 1;
	bra $loop;
$done:
	shfl.sync.bfly.b32 %r8, %r6, 1, 31, -1;
	mad.lo.u32 %r0, %r6, 1000, %r8;`, 2, 64, 0)
	steps := func(n int) (c uint32) {
		for ; n != 1; c++ {
			if n%2 == 0 {
				n /= 2
			} else {
				n = 3*n + 1
			}
		}
		return c
	}
	for i, g := range got {
		tid := i % 64
		require.Equal(t, steps(tid+1)*1000+steps(tid^1+1), g, "thread %d", i)
	}
}

// TestGuardedCollectives: a guard that is false in the whole warp skips what all lanes must execute together.
func TestGuardedCollectives(t *testing.T) {
	got := outputs(t, Options{}, `
	setp.gt.u32 %p1, %r1, 31;
	createpolicy.fractional.L2::evict_last.b64 %rd7, 1.0;
	@%p1 bar.sync 1, 32;
	@%p1 shfl.sync.bfly.b32 %r1, %r1, 1, 31, -1;
	@%p1 ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [0];
	mov.u32 %r0, %r1;`, 1, 32, 0)
	for i, v := range got {
		require.EqualValues(t, i, v)
	}
}

// TestSpecialRegisters runs a 3-D block in a 3-D grid.
func TestSpecialRegisters(t *testing.T) {
	r := newRig(t, Options{})
	const threads = 4 * 3 * 5
	out := r.empty(4 * threads * 12)
	ptx := header + `.visible .entry k(.param .u64 out)
{
	.reg .b32 %r<32>; .reg .b64 %rd<4>;
	mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; mov.u32 %r3, %tid.z;
	mov.u32 %r4, %ntid.x; mov.u32 %r5, %ntid.y; mov.u32 %r6, %ntid.z;
	mov.u32 %r7, %ctaid.x; mov.u32 %r8, %ctaid.y; mov.u32 %r9, %ctaid.z;
	mov.u32 %r10, %nctaid.x; mov.u32 %r11, %nctaid.y;
	mad.lo.u32 %r12, %r3, %r5, %r2; mad.lo.u32 %r12, %r12, %r4, %r1; // linear thread
	mad.lo.u32 %r13, %r9, %r11, %r8; mad.lo.u32 %r13, %r13, %r10, %r7; // linear block
	mul.lo.u32 %r14, %r4, %r5; mul.lo.u32 %r14, %r14, %r6;
	mad.lo.u32 %r14, %r13, %r14, %r12;
	mov.u32 %r15, %laneid; mov.u32 %r16, %warpid; mad.lo.u32 %r16, %r16, 32, %r15;
	sub.u32 %r16, %r16, %r12; // 0 where lanes and warps number the threads linearly
	mad.lo.u32 %r16, %r16, 1000000, %r14;
	ld.param.u64 %rd1, [out]; mad.wide.u32 %rd1, %r14, 4, %rd1; st.global.u32 [%rd1], %r16;
	ret;
}`
	f := r.function(ptx)
	l := launchOf([3]uint32{2, 3, 2}, [3]uint32{4, 3, 5}, 0)
	require.NoError(t, f.Launch(l, encodeArgs([]any{out}), nil))
	for i, v := range unwords(r.download(out, 4*threads*12)) {
		require.EqualValues(t, i, v)
	}
}

// TestReduction sums a block's values through shared memory with a barrier for each halving. The result must not
// depend on the order in which warps and blocks run.
func TestReduction(t *testing.T) {
	body := `
	mul.lo.u32 %r5, %r1, %r1;
	st.shared.u32 [%r3], %r5;
	mov.u32 %r6, 128;
$loop:
	bar.sync 0;
	setp.ge.u32 %p1, %r1, %r6;
	@%p1 bra $skip;
	mad.lo.u32 %r7, %r6, 4, %r3;
	ld.shared.u32 %r8, [%r7];
	ld.shared.u32 %r9, [%r3];
	add.u32 %r9, %r9, %r8;
	st.shared.u32 [%r3], %r9;
$skip:
	shr.u32 %r6, %r6, 1;
	setp.ne.u32 %p2, %r6, 0;
	@%p2 bra $loop;
	bar.sync 0;
	ld.shared.u32 %r0, [smem];`
	for seed := range uint64(20) {
		for _, v := range outputs(t, Options{Seed: seed, Workers: int(seed % 5)}, body, 7, 256, 1024) {
			require.EqualValues(t, 255*256*511/6, v)
		}
	}
}

// TestNamedBarriers hands values from two producer warps to two consumer warps with bar.arrive and bar.sync.
func TestNamedBarriers(t *testing.T) {
	body := `
	mov.u32 %r0, 0;
	mov.u32 %r6, 0;
	setp.lt.u32 %p1, %r1, 64;
	@%p1 bra $produce;
$consume:
	bar.sync 1, 128;
	ld.shared.u32 %r7, [%r3+-256];
	add.u32 %r0, %r0, %r7;
	bar.arrive 2, 128;
	add.u32 %r6, %r6, 1;
	setp.lt.u32 %p2, %r6, 5;
	@%p2 bra $consume;
	bra.uni $end;
$produce:
	setp.eq.u32 %p3, %r6, 0;
	@%p3 bra $first;
	bar.sync 2, 128;
$first:
	add.u32 %r8, %r1, %r6;
	st.shared.u32 [%r3], %r8;
	bar.arrive 1, 128;
	add.u32 %r6, %r6, 1;
	setp.lt.u32 %p2, %r6, 5;
	@%p2 bra $produce;
	bar.sync 2, 128;
$end:`
	for seed := range uint64(10) {
		got := outputs(t, Options{Seed: seed}, body, 1, 128, 512)
		for i, v := range got[64:] {
			require.EqualValues(t, 5*i+10, v, "thread %d", 64+i)
		}
	}
}

func TestSubWordAccess(t *testing.T) {
	got := outputs(t, Options{}, `
	.reg .b16 %h<4>;
	mad.lo.u32 %r5, %r1, 0x10203, 0x80;
	st.shared.u8 [%r3], %r5;
	cvt.u16.u32 %h1, %r5;
	st.shared.u16 [%r3+2], %h1;
	ld.shared.s8 %r6, [%r3];
	ld.shared.u16 %r7, [%r3+2];
	ld.shared.s8 %h2, [%r3+2];
	cvt.u32.u16 %r8, %h2;
	xor.b32 %r0, %r6, %r7;
	mad.lo.u32 %r0, %r8, 0x10001, %r0;`, 1, 32, 128)
	for i, v := range got {
		x := uint32(i)*0x10203 + 0x80
		s8 := uint32(int32(int8(x)))
		require.Equal(t, (s8^x&0xffff)+(s8&0xffff)*0x10001, v, "lane %d", i)
	}
}

func TestAtomics(t *testing.T) {
	r := newRig(t, Options{})
	buf := r.upload(words(0, 0, 1000, 5, math.Float32bits(0.5), 0, 1, 0))
	out := r.empty(4 * 8 * 64)
	ptx := header + `.visible .entry k(.param .u64 buf, .param .u64 out)
{
	.reg .b32 %r<8>; .reg .b64 %rd<8>; .reg .f32 %f<2>;
	mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mad.lo.u32 %r1, %r2, 64, %r1;
	ld.param.u64 %rd1, [buf];
	atom.global.add.u32 %r3, [%rd1], 1;
	red.global.max.s32 [%rd1+4], %r1;
	red.relaxed.gpu.global.min.u32 [%rd1+8], %r1;
	atom.global.cas.b32 %r4, [%rd1+12], 5, 77;
	mov.f32 %f1, 0f3F000000;
	red.global.add.f32 [%rd1+16], %f1;
	cvt.u64.u32 %rd2, %r1;
	red.global.add.u64 [%rd1+24], %rd2;
	ld.param.u64 %rd3, [out]; mad.wide.u32 %rd3, %r1, 4, %rd3; st.global.u32 [%rd3], %r3;
	ret;
}`
	require.NoError(t, r.launch(ptx, 8, 64, 0, buf, out))
	require.Equal(t, []uint32{512, 511, 0, 77, math.Float32bits(256.5), 0, 1 + 511*256, 0}, unwords(r.download(buf, 32)))
	seen := map[uint32]bool{}
	for _, v := range unwords(r.download(out, 4*512)) {
		seen[v] = true
	}
	require.Len(t, seen, 512, "every thread got another old value")
}

// TestSignedAtomics: -3 is less than 2 as a signed number and larger as an unsigned one, whichever of them is in memory.
func TestSignedAtomics(t *testing.T) {
	const minus3 = 0xfffffffd
	for _, c := range []struct {
		op           string
		old, operand uint64
		want         uint64
	}{
		{"min.s32", 2, minus3, minus3}, {"min.s32", minus3, 2, minus3}, {"max.s32", 2, minus3, 2}, {"max.s32", minus3, 2, 2},
		{"min.u32", 2, minus3, 2}, {"min.u32", minus3, 2, 2}, {"max.u32", 2, minus3, minus3}, {"max.u32", minus3, 2, minus3},
		{"min.s64", 2, 1<<64 - 3, 1<<64 - 3}, {"max.s64", 2, 1<<64 - 3, 2}, {"min.u64", 2, 1<<64 - 3, 2}, {"max.u64", 1<<64 - 3, 2, 1<<64 - 3},
		{"min.s64", minus3, 2, 2}, {"max.s64", minus3, 2, minus3}, // a positive number of 64 bits
	} {
		for _, form := range []string{"red.global.", "atom.global."} {
			r := newRig(t, Options{})
			buf := r.upload(words(uint32(c.old), uint32(c.old>>32), uint32(c.operand), uint32(c.operand>>32)))
			bits := c.op[len(c.op)-2:]
			register := map[string]string{"32": "%r", "64": "%rd"}[bits]
			result := map[string]string{"red.global.": "", "atom.global.": register + "2, "}[form]
			require.NoError(t, r.launch(header+`.visible .entry k(.param .u64 buf)
{
	.reg .b32 %r<4>; .reg .b64 %rd<4>;
	ld.param.u64 %rd1, [buf];
	ld.global.b`+bits+" "+register+`3, [%rd1+8];
	`+form+c.op+" "+result+"[%rd1], "+register+`3;
	ret;
}`, 1, 1, 0, buf))
			got := unwords(r.download(buf, 8))
			require.Equal(t, []uint32{uint32(c.want), uint32(c.want >> 32)}, got, "%s%s of %#x and %#x", form, c.op, c.old, c.operand)
		}
	}
}

// TestWarpSync: bar.warp.sync publishes copied data inside a warp; fences and cache hints are accepted.
func TestWarpSync(t *testing.T) {
	r := newRig(t, Options{})
	in, out := r.upload(words(make([]uint32, 128)...)), r.empty(128)
	require.NoError(t, r.dev.CopyToDevice(in, words(10, 11, 12, 13, 14, 15, 16, 17), nil))
	ptx := header + `.visible .entry k(.param .u64 in, .param .u64 out)
{
	.reg .b32 %r<8>; .reg .b64 %rd<8>;
	mov.u32 %r1, %tid.x; mov.u32 %r2, smem; mad.lo.u32 %r3, %r1, 4, %r2; xor.b32 %r4, %r3, 4;
	ld.param.u64 %rd1, [in]; mad.wide.u32 %rd1, %r1, 4, %rd1;
	createpolicy.fractional.L2::evict_last.b64 %rd4, 1.0;
	cp.async.ca.shared.global.L2::cache_hint [%r3], [%rd1], 4, %rd4;
	cp.async.wait_all;
	membar.cta; fence.acq_rel.gpu;
	bar.warp.sync 0xffffffff;
	ld.shared.u32 %r5, [%r4];
	ld.param.u64 %rd2, [out]; mad.wide.u32 %rd2, %r1, 4, %rd2;
	st.global.L1::no_allocate.u32 [%rd2], %r5;
	ret;
}`
	require.NoError(t, r.launch(ptx, 1, 32, 128, in, out))
	require.Equal(t, []uint32{11, 10, 13, 12, 15, 14, 17, 16}, unwords(r.download(out, 32)))
}

// TestGenericAddresses goes through cvta for both spaces.
func TestGenericAddresses(t *testing.T) {
	got := outputs(t, Options{}, `
	cvt.u64.u32 %rd2, %r3;
	cvta.shared.u64 %rd3, %rd2;
	st.u32 [%rd3], %r1;
	cvta.to.shared.u64 %rd4, %rd3;
	ld.shared.u32 %r5, [%rd4];
	ld.param.u64 %rd5, [out];
	cvta.to.global.u64 %rd5, %rd5;
	mad.wide.u32 %rd5, %r1, 4, %rd5;
	st.u32 [%rd5], %r5;
	ld.u32 %r0, [%rd5];`, 1, 32, 128)
	for i, v := range got {
		require.EqualValues(t, i, v)
	}
}

// TestHalfConversions rounds every midpoint and every value of the 16-bit formats.
func TestHalfConversions(t *testing.T) {
	for h := range uint32(0x7c00) {
		x := fromF16(h)
		require.Equal(t, math.Ldexp(float64(max(h&0x3ff|min(h>>10, 1)<<10, 0)), int(max(h>>10, 1))-25), float64(x), "%#x", h)
		require.Equal(t, h, toF16(math.Float32bits(x)))
		require.Equal(t, h|0x8000, toF16(math.Float32bits(-x)))
		next := 2*x - fromF16(max(h, 1)-1) // a step up, close enough to halve
		if h > 0 && h&0x3ff != 0 {
			mid := (x + next) / 2
			require.Equal(t, h+h&1, toF16(math.Float32bits(mid)), "the tie above %#x goes to even", h)
			require.Equal(t, h, toF16(math.Float32bits(mid)-1))
			require.Equal(t, h+1, toF16(math.Float32bits(mid)+1))
		}
	}
	require.EqualValues(t, 0x7c00, toF16(math.Float32bits(65520)))
	require.EqualValues(t, 0x7bff, toF16(math.Float32bits(65519)))
	require.EqualValues(t, 0x7fff, toF16(0x7f800001))
	for _, c := range [][2]uint32{{0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, {0x7f7fffff, 0x7f80},
		{0x7f800000, 0x7f80}, {0xffc00001, 0x7fff}, {0x00008000, 0}, {0x80018000, 0x8002}} {
		require.Equal(t, c[1], toBF16(c[0]), "%#x", c[0])
	}
	require.Equal(t, 1, bits.OnesCount32(toBF16(0x80000000)))
}
