package emu

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDirectives: debug lines and pragmas are ignored, static arrays come before the dynamic one, names are scoped.
func TestDirectives(t *testing.T) {
	r := newRig(t, Options{})
	out := r.empty(4 * 32)
	ptx := `.version 7.4
.target sm_80, debug
.address_size 64
.file 1 "a.cu", 5, 6
.shared .align 8 .b8 first[12];
.extern .shared .align 128 .b8 dyn[];
.pragma "nounroll";
.weak .entry k ( .param .u64 .ptr .global .align 16 out )
.reqntid 32, 1, 1
.maxnreg 64
{
	.reg .b32 %r<8>, t; .reg .b64 %rd<8>;
	.shared .u32 second[4];
	.loc 1 3 0
	.pragma "nounroll";
	mov.u32 %r1, %tid.x;
	mov.u32 t, first; mov.u32 %r2, second+4; sub.u32 %r2, %r2, t;       // 16
	mov.u32 %r3, dyn; sub.u32 %r3, %r3, t;                              // 128
	mad.lo.u32 %r4, %r2, 1000, %r3;
	{
		.reg .b32 t; /* another
		t */
		mov.u32 t, 0;
$L:		add.u32 t, t, 1;
		.reg .pred p; setp.lt.u32 p, t, 5; @p bra.uni $L;
		add.u32 %r4, %r4, t;
	}
	{ .reg .pred p;
$L:	setp.ne.u32 p, %r1, %r1; @p bra $L; }
	ld.param.u64 %rd1, [out]; mad.wide.u32 %rd1, %r1, 4, %rd1;
	st.global.u32 [%rd1], %r4;
}
`
	require.NoError(t, r.launch(ptx, 1, 32, 64, out))
	for _, v := range unwords(r.download(out, 128)) {
		require.EqualValues(t, 16*1000+128+5, v)
	}
	a, err := r.function(ptx).Attributes()
	require.NoError(t, err)
	require.Equal(t, 128, a.SharedBytes)
	require.Equal(t, 32, a.MaxThreads)
}

// TestParameters reads scalars, vectors and a parameter's bytes through its address.
func TestParameters(t *testing.T) {
	r := newRig(t, Options{})
	out := r.empty(4)
	ptx := header + `.visible .entry k(
	.param .u64 out, // a comment
	.param .align 16 .b8 st[24],
	.param .u16 h,
	.param .f32 f
) .maxntid 64, 1, 1 .minnctapersm 2
{
	.reg .b32 %r<20>; .reg .b64 %rd<8>; .reg .b16 %h<2>; .reg .f32 %f<2>;
	ld.param.v4.u32 {%r1, %r2,
		%r3, %r4}, [st];
	mov.b64 %rd1, st;
	ld.param.u32 %r5, [%rd1+16];
	ld.u32 %r6, [%rd1+20];
	ld.param.u16 %h1, [h];
	ld.param.f32 %f1, [f];
	cvt.u32.u16 %r7, %h1;
	cvt.rzi.u32.f32 %r8, %f1;
	mad.lo.u32 %r9, %r1, 10, %r2; mad.lo.u32 %r9, %r9, 10, %r3; mad.lo.u32 %r9, %r9, 10, %r4;
	mad.lo.u32 %r9, %r9, 10, %r5; mad.lo.u32 %r9, %r9, 10, %r6; mad.lo.u32 %r9, %r9, 10, %r7; mad.lo.u32 %r9, %r9, 10, %r8;
	ld.param.u64 %rd2, [out]; st.global.u32 [%rd2], %r9;
	ret;
}`
	f := r.function(ptx)
	args := encodeArgs([]any{out, 0, 0, float32(8.5)})
	args[1], args[2] = words(1, 2, 3, 4, 5, 6), []byte{7, 0}
	require.NoError(t, f.Launch(launchOf([3]uint32{1, 1, 1}, [3]uint32{1, 1, 1}, 0), args, nil))
	require.Equal(t, []uint32{12345678}, unwords(r.download(out, 4)))

	l := launchOf([3]uint32{1, 1, 1}, [3]uint32{1, 1, 1}, 0)
	require.ErrorContains(t, f.Launch(l, args[:3], nil), "found 3 arguments, the kernel has 4 parameters")
	args[2] = []byte{7}
	require.ErrorContains(t, f.Launch(l, args, nil), "argument 2 has 1 bytes, parameter h has 2")
	l.Block[0] = 65
	require.ErrorContains(t, f.Launch(l, args, nil), "found a block of [65 1 1] threads, the kernel allows 64")
}

// TestStats counts instructions once a warp.
func TestStats(t *testing.T) {
	var seen []Stats
	r := newRig(t, Options{Observe: func(s Stats) { seen = append(seen, s) }})
	out := r.empty(4 * 3 * 64)
	require.NoError(t, r.launch(warpKernel("mov.u32 %r0, 1; bar.sync 0;"), 3, 64, 128, out))
	require.Len(t, seen, 1)
	s := seen[0]
	require.EqualValues(t, 3, s.Blocks)
	require.Equal(t, 2, s.Warps)
	require.EqualValues(t, 6, s.ByOpcode["bar.sync"])
	require.EqualValues(t, 6, s.ByOpcode["st.global.u32"])
	require.EqualValues(t, 6, s.Barriers)
	total := int64(0)
	for _, n := range s.ByOpcode {
		total += n
	}
	require.Equal(t, total, s.Instructions)
}

// TestFirstFailingBlock: whatever the workers do, the error comes from the first bad block.
func TestFirstFailingBlock(t *testing.T) {
	for range 20 {
		r := newRig(t, Options{Workers: 4})
		out := r.empty(4 * 64 * 32)
		err := r.launch(warpKernel("mov.u32 %r5, %ctaid.x; setp.ge.u32 %p1, %r5, 17; @%p1 trap; mov.u32 %r0, 0;"), 64, 32, 0, out)
		var f *Fault
		require.ErrorAs(t, err, &f)
		require.Equal(t, [3]uint32{17, 0, 0}, f.Block)
	}
}
