package emu

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCopyPipeline streams chunks through two shared buffers with cp.async, one group ahead.
func TestCopyPipeline(t *testing.T) {
	r := newRig(t, Options{})
	const chunks, threads = 6, 64
	src := make([]byte, chunks*threads*16)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range src {
		src[i] = byte(rng.Uint32())
	}
	in, out := r.upload(src), r.empty(len(src))
	ptx := header + `.visible .entry k(.param .u64 in, .param .u64 out, .param .u32 n)
{
	.reg .pred %p<4>; .reg .b32 %r<20>; .reg .b64 %rd<8>;
	mov.u32 %r1, %tid.x; mov.u32 %r2, smem; mad.lo.u32 %r3, %r1, 16, %r2;
	xor.b32 %r4, %r1, 63; mad.lo.u32 %r5, %r4, 16, %r2; // another warp's place
	ld.param.u64 %rd1, [in]; mad.wide.u32 %rd1, %r1, 16, %rd1;
	ld.param.u64 %rd2, [out]; mad.wide.u32 %rd2, %r4, 16, %rd2;
	ld.param.u32 %r6, [n];
	mov.u32 %r7, 0; mov.u32 %r8, 0;
	cp.async.cg.shared.global.L2::128B [%r3], [%rd1], 16;
	cp.async.commit_group;
$loop:
	add.u32 %r9, %r7, 1;
	setp.ge.u32 %p1, %r9, %r6;
	xor.b32 %r10, %r8, 1024;
	@%p1 bra $last;
	add.u32 %r11, %r3, %r10;
	cp.async.cg.shared.global [%r11], [%rd1+1024], 16;
$last:
	cp.async.commit_group;
	cp.async.wait_group 1;
	bar.sync 0;
	add.u32 %r12, %r5, %r8;
	ld.shared.v4.u32 {%r13,%r14,%r15,%r16}, [%r12];
	st.global.v4.u32 [%rd2], {%r13,%r14,%r15,%r16};
	bar.sync 0;
	add.s64 %rd1, %rd1, 1024; add.s64 %rd2, %rd2, 1024;
	mov.u32 %r7, %r9; mov.u32 %r8, %r10;
	@!%p1 bra $loop;
	ret;
}`
	require.NoError(t, r.launch(ptx, 1, threads, 2048, in, out, chunks))
	require.Equal(t, src, r.download(out, len(src)))
	require.Zero(t, r.dev.LastStats().PendingAtExit)
}

// TestCopyZeroFill covers the source size operand: bytes beyond it are zero, and size 0 does not touch the source.
func TestCopyZeroFill(t *testing.T) {
	r := newRig(t, Options{})
	in, out := r.upload(bytes.Repeat([]byte{0xab}, 16)), r.empty(48)
	ptx := header + `.visible .entry k(.param .u64 in, .param .u64 out)
{
	.reg .b32 %r<20>; .reg .b64 %rd<8>;
	mov.u32 %r2, smem; ld.param.u64 %rd1, [in]; ld.param.u64 %rd2, [out];
	mov.u32 %r5, -1; // what zero fill has to replace
	st.shared.v4.u32 [%r2], {%r5,%r5,%r5,%r5}; st.shared.v4.u32 [%r2+16], {%r5,%r5,%r5,%r5}; st.shared.v4.u32 [%r2+32], {%r5,%r5,%r5,%r5};
	mov.u32 %r5, 6; mov.u32 %r6, 0; mov.u64 %rd3, 0;
	cp.async.cg.shared.global [%r2], [%rd1], 16, %r5;
	cp.async.cg.shared.global [%r2+16], [%rd3], 16, %r6;
	cp.async.ca.shared.global [%r2+32], [%rd1], 8, 3;
	cp.async.ca.shared.global [%r2+40], [%rd1], 8;
	cp.async.wait_all;
	ld.shared.v4.u32 {%r7,%r8,%r9,%r10}, [%r2]; st.global.v4.u32 [%rd2], {%r7,%r8,%r9,%r10};
	ld.shared.v4.u32 {%r7,%r8,%r9,%r10}, [%r2+16]; st.global.v4.u32 [%rd2+16], {%r7,%r8,%r9,%r10};
	ld.shared.v2.u64 {%rd4,%rd5}, [%r2+32]; st.global.v2.u64 [%rd2+32], {%rd4,%rd5};
	cp.async.cg.shared.global [%r2], [%rd1], 16;
	ret;
}`
	require.NoError(t, r.launch(ptx, 1, 1, 48, in, out))
	want := make([]byte, 48)
	for _, i := range []int{0, 1, 2, 3, 4, 5, 32, 33, 34, 40, 41, 42, 43, 44, 45, 46, 47} {
		want[i] = 0xab
	}
	require.Equal(t, want, r.download(out, 48))
	require.EqualValues(t, 1, r.dev.LastStats().PendingAtExit)
}
