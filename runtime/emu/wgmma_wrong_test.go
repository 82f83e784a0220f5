package emu

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// wgmmaText makes a body readable: M, N16 are instructions on 8 and 16 columns, A in shared memory or registers.
var wgmmaText = strings.NewReplacer(
	"FENCE", "wgmma.fence.sync.aligned;",
	"COMMIT", "wgmma.commit_group.sync.aligned;",
	"WAIT0", "wgmma.wait_group.sync.aligned 0;",
	"WAIT1", "wgmma.wait_group.sync.aligned 1;",
	"MUL16", "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%f0,%f1,%f2,%f3,%f4,%f5,%f6,%f7}, %rd1, %rd2, 0, 1, 1, 0, 0;",
	"MULPRED", "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0,%f1,%f2,%f3}, %rd1, %rd2, %p4, 1, 1, 0, 0;",
	"MULREG", "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0,%f1,%f2,%f3}, {%r4,%r5,%r6,%r7}, %rd2, 0, 1, 1, 0;",
	"MULHIGH", "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f4,%f5,%f6,%f7}, %rd1, %rd2, 0, 1, 1, 0, 0;",
	"MULADD", "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0,%f1,%f2,%f3}, %rd1, %rd2, 1, 1, 1, 0, 0;",
	"MUL", "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0,%f1,%f2,%f3}, %rd1, %rd2, 0, 1, 1, 0, 0;",
	"SUMS", "mov.f32 %f0, 0f00000000; mov.f32 %f1, 0f00000000; mov.f32 %f2, 0f00000000; mov.f32 %f3, 0f00000000;",
	"WARP", "shr.u32 %r20, %r1, 5; setp.eq.u32 %p4, %r20, 1;",
	"SMEM", "mov.u32 %r21, smem;",
)

// wgmmaError runs a body of the language above on a warpgroup with A at offset 0 and B at 8192, both in 128-byte mode.
func wgmmaError(t *testing.T, seed uint64, threads int, a, b int64, body string) error {
	r := newRig(t, Options{Seed: seed})
	const size = 16 << 10
	args := []any{r.upload(make([]byte, size)), a, b, r.upload(make([]byte, 16*threads)), r.empty(16 * threads)}
	return r.launch(wgmmaKernel(size, 8, wgmmaText.Replace(body)), 1, threads, size+1024, args...)
}

var wgmmaA, wgmmaB = layout{mode: 1, sbo: 1024}, layout{mode: 1, sbo: 1024, base: 8192}

// TestWgmmaRight: what the rules allow runs.
func TestWgmmaRight(t *testing.T) {
	for _, body := range []string{
		"FENCE MUL COMMIT WAIT0",
		"SUMS FENCE MULADD MULADD COMMIT MULADD COMMIT WAIT1 WAIT0",
		"FENCE MUL COMMIT WAIT0 MULADD COMMIT WAIT0",  // nothing touched the sums since
		"FENCE MULREG MULREG COMMIT WAIT0",            // both read A
		"FENCE MULREG COMMIT mov.b32 %r8, %r4; WAIT0", // A may be read
		"FENCE MUL COMMIT MULHIGH COMMIT WAIT1 add.f32 %f9, %f0, %f0; WAIT0",
		"FENCE MUL COMMIT WAIT0 mov.b32 %r4, %f0; FENCE MULREG COMMIT WAIT0",
		"WAIT0 COMMIT WAIT0 FENCE MUL COMMIT WAIT0", // empty groups
		"FENCE MUL COMMIT WAIT0 FENCE setp.ne.u32 %p4, %r1, %r1; @%p4 bra $over; MULADD COMMIT WAIT0 $over:",
		"SMEM WARP @%p4 st.shared.u32 [%r21], 7; fence.proxy.async.shared::cta; bar.sync 0; FENCE MUL COMMIT WAIT0",
		"FENCE MUL COMMIT WAIT0 bar.sync 0; SMEM WARP @%p4 st.shared.u32 [%r21+8192], 7;", // free after the wait
		"FENCE MUL COMMIT bar.sync 0; WAIT0 SMEM bar.sync 0; WARP @%p4 st.shared.u32 [%r21+8192], 7;",
	} {
		for seed := range uint64(3) {
			require.NoError(t, wgmmaError(t, seed, 128, wgmmaA.descriptor(), wgmmaB.descriptor(), body), body)
		}
	}
}

// TestWgmmaWrong: each broken rule is an error that names the registers and the PTX line.
func TestWgmmaWrong(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"MUL COMMIT WAIT0", "register %f0 of the sums was written after the warp's last wgmma.fence, or there was none"},
		{"FENCE SUMS MUL COMMIT WAIT0", "register %f0 of the sums was written after the warp's last wgmma.fence"},
		{"FENCE MUL COMMIT WAIT0 mul.f32 %f2, %f2, %f2; MULADD COMMIT WAIT0", "register %f2 of the sums was written after"},
		{"FENCE mov.b32 %r6, 0; MULREG COMMIT WAIT0", "register %r6 of A was written after the warp's last wgmma.fence"},
		{"FENCE MUL COMMIT WAIT0 MUL16 COMMIT WAIT0", "register %f0 of the sums was written after"},
		{"FENCE MULADD COMMIT WAIT0", "reads register %f0, which was never written"},
		{"FENCE MUL COMMIT add.f32 %f9, %f1, %f1; WAIT0", "reads register %f1, a sum of the wgmma at PTX line 23 that is still in flight"},
		{"FENCE MUL COMMIT MUL COMMIT WAIT1 add.f32 %f9, %f1, %f1; WAIT0", "reads register %f1, a sum of the wgmma at PTX line 23"},
		{"SUMS FENCE MUL COMMIT add.f32 %f9, %f1, %f1; WAIT0", "reads register %f1, a sum of the wgmma at PTX line 23 that is still in flight"},
		{"FENCE MULREG COMMIT wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%r4,%r5,%r6,%r7}, %rd1, %rd2, 0, 1, 1, 0, 0; COMMIT WAIT0", "register %r4 is an element of A of the wgmma at PTX line 23"},
		{"FENCE MUL COMMIT mov.f32 %f3, 0f00000000; WAIT0", "writes register %f3, a sum of the wgmma at PTX line 23 that is still in flight"},
		{"FENCE MUL COMMIT setp.eq.u32 %p4, %r1, 5; @%p4 mov.f32 %f3, 0f00000000; WAIT0", "lane 5, PTX line 23: writes register %f3, a sum"},
		{"FENCE MULREG COMMIT ld.global.v4.u32 {%r4,%r10,%r11,%r12}, [%rd3]; WAIT0", "writes register %r4, an element of A of the wgmma at PTX line 23"},
		{"FENCE MUL MUL16 COMMIT WAIT0", "register %f0 is in another list of sums, that of the wgmma at PTX line 23, which is in flight"},
		{"FENCE MUL COMMIT WAIT0 ret;", ""},
		{"FENCE MUL COMMIT ret;", "exits while the wgmma at PTX line 23 is in flight"},
		{"FENCE MUL WAIT0", "waits while the wgmma at PTX line 23 is in no group: execute wgmma.commit_group first"},
		{"FENCE MUL COMMIT SMEM st.shared.u32 [%r21+8192], 7; WAIT0", "race: writes shared memory at offset 8192, read by warp"},
		{"FENCE MUL COMMIT SMEM WARP @%p4 st.shared.u32 [%r21+2048], 7; WAIT0", "ends the wgmma at PTX line 23, whose operand"}, // rows of its own
		{"FENCE MUL COMMIT bar.sync 0; WAIT0 SMEM WARP @%p4 st.shared.u32 [%r21+8192], 7;", "race: writes shared memory at offset 8192, read by warp"},
		{"FENCE MUL COMMIT bar.sync 0; SMEM WARP @%p4 st.shared.u32 [%r21+8192], 7; bar.sync 0; WAIT0", "ends the wgmma at PTX line 23, whose operand"},
		{"SMEM WARP @%p4 st.shared.u32 [%r21], 7; bar.sync 0; FENCE MUL COMMIT WAIT0", "through the async proxy, written by warp"},
		{"SMEM WARP @%p4 st.shared.u32 [%r21], 7; fence.proxy.async; FENCE MUL COMMIT WAIT0", "race: reads shared memory at offset 0, written by warp 1"},
		{"setp.lt.u32 %p4, %r1, 16; FENCE @%p4 bra $over; MUL $over: COMMIT WAIT0", "is executed by a part of the warp"},
		{"WARP FENCE @%p4 bra $over; MUL bra $end; $over: MULADD $end: COMMIT WAIT0", "the four warps of a warpgroup must execute the same one"},
		{"WARP FENCE @%p4 bra $over; MUL COMMIT WAIT0 $over: @%p4 ret;", "deadlock: no warp can run"},
		{"WARP FENCE @%p4 bra $over; MUL COMMIT WAIT0 $over: @%p4 ret;", "warp 0: waits for its warpgroup, PTX line 23: wgmma.mma_async"},
		{"WARP FENCE @%p4 bra $over; FENCE $over: MUL COMMIT WAIT0", "came here through other wgmma.fence, commit_group or wait_group instructions"},
		{"WARP FENCE @%p4 add.u64 %rd2, %rd2, 2; MUL COMMIT WAIT0", "the descriptor of B is"},
		{"and.b32 %r20, %r1, 31; setp.eq.u32 %p4, %r20, 7; FENCE MULPRED COMMIT WAIT0", "scale-d differs"}, // within the warps
		{"WARP FENCE MULPRED COMMIT WAIT0", "scale-d differs"},                                             // between the warps
		{"SMEM WARP @%p4 st.shared.u32 [%r21+8192], 7; fence.proxy.async; shr.u32 %r22, %r1, 6; setp.eq.u32 %p5, %r22, 0; @%p5 bar.sync 1, 64; FENCE MUL COMMIT WAIT0",
			"race: reads shared memory at offset 8192, written by warp 1"}, // warps 2 and 3 have not seen it
	} {
		err := wgmmaError(t, 3, 128, wgmmaA.descriptor(), wgmmaB.descriptor(), c.body)
		if c.want == "" {
			require.NoError(t, err, c.body)
			continue
		}
		require.ErrorContains(t, err, c.want, c.body)
	}
	err := wgmmaError(t, 1, 96, wgmmaA.descriptor(), wgmmaB.descriptor(), "FENCE MUL COMMIT WAIT0")
	require.ErrorContains(t, err, "of a block of 3 warps: a warpgroup has warps 0 to 3")
}

// TestWgmmaDescriptors: what a descriptor may not say.
func TestWgmmaDescriptors(t *testing.T) {
	good := wgmmaA.descriptor()
	for _, c := range []struct {
		a, b int64
		want string
	}{
		{good | 1<<49, good, "of A has base offset 1, the emulator wants 0"},
		{good, good | 1<<14, "of B has bits set that mean nothing"},
		{good + 128>>4, good, "the descriptor of A starts at offset 128 of shared memory, in row 1 of the 128B swizzle pattern: the pattern must begin at a multiple of 1024"},
		{good + 112>>4, good, "the descriptor of A starts 112 bytes into a row of the 128B swizzle pattern, where its 32 bytes leave the row of 128"},
		{good, layout{mode: 1, sbo: 1024, base: 17 << 10}.descriptor(), "the descriptor of B reaches offset 17408 of shared memory, outside the block's 17408 bytes"},
		{good, layout{mode: 1, sbo: 1024, base: -1024}.descriptor(), "the descriptor of B reaches offset -1024"},
		{good, layout{mode: 1, sbo: 1024, base: 16 << 10}.descriptor(), "reads shared memory at offset 16384, which was never written"},
	} {
		require.ErrorContains(t, wgmmaError(t, 1, 128, c.a, c.b, "FENCE MUL COMMIT WAIT0"), c.want)
	}
}

// TestWgmmaLoad: what is no wgmma is refused with its line when the module loads.
func TestWgmmaLoad(t *testing.T) {
	const op = "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 "
	for _, c := range []struct{ text, want string }{
		{"wgmma.mma_async.sync.aligned.m64n12k16.f32.bf16.bf16 {%f0}, %rd1, %rd2, 0, 1, 1, 0, 0;", "which knows m64nNk16 with N a multiple of 8 up to 256"},
		{"wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 {%f0}, %rd1, %rd2, 0, 1, 1;", "which knows m64nNk16"},
		{"wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.f16 {%f0,%f1,%f2,%f3}, %rd1, %rd2, 0, 1, 1, 0, 0;", "which knows f32 sums of bf16.bf16 and f16.f16"},
		{op + "{%f0,%f1}, %rd1, %rd2, 0, 1, 1, 0, 0;", "found a list in braces of 2 registers"},
		{op + "{%f0,%f1,%f2,%f0}, %rd1, %rd2, 0, 1, 1, 0, 0;", "register %f0 stands twice in the list of sums"},
		{op + "{%r0,%r1,%r2,%r3}, {%r3,%r4,%r5,%r6}, %rd2, 0, 1, 1, 0;", "register %r3 is both a sum and an element of A"},
		{op + "{%f0,%f1,%f2,%f3}, {%r3,%r4,%r5,%r6}, %rd2, 0, 1, 1, 0, 0;", "found 8 operands"},
		{op + "{%f0,%f1,%f2,%f3}, %rd1, %r2, 0, 1, 1, 0, 0;", "register %r2 holds 32 bits"},
		{op + "{%f0,%f1,%f2,%f3}, %rd1, %rd2, 2, 1, 1, 0, 0;", "found the number 2, wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 wants 0 or 1 there"},
		{op + "{%f0,%f1,%f2,%f3}, %rd1, %rd2, 0, 0, 1, 0, 0;", "wants 1 or -1 there"},
		{op + "{%f0,%f1,%f2,%f3}, %rd1, %rd2, !%p1, 1, 1, 0, 0;", "found a negated predicate"},
		{"wgmma.wait_group.sync.aligned 8;", "wants a number of groups from 0 to 7"},
		{"wgmma.fence.sync;", "wgmma wants one of .aligned"},
	} {
		_, err := newRig(t, Options{}).dev.LoadModule([]byte(wgmmaKernel(16, 8, c.text)))
		require.ErrorContains(t, err, "line 23: ", c.text)
		require.ErrorContains(t, err, c.want, c.text)
	}
}
