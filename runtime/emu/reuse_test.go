package emu

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What ran in a block before does not make a later early read right, in the same launch or in another: neither in shared memory, nor in
// registers. The kernels have many registers and bytes and few, so that a block is used again by larger and smaller ones.
func TestNothingIsReadFromTheBlockBefore(t *testing.T) {
	kernel := func(body string) string {
		return header + `.visible .entry k(.param .u64 out)
{
	.reg .pred %p<8>; .reg .b32 %r<64>; .reg .b64 %rd<8>;
	mov.u32 %r1, %tid.x; mov.u32 %r2, smem; mad.lo.u32 %r3, %r1, 4, %r2;
	` + body + `
	ld.param.u64 %rd1, [out]; mad.wide.u32 %rd1, %r1, 4, %rd1; st.global.u32 [%rd1], %r1;
	ret;
}`
	}
	const fill = "mov.u32 %r9, %ctaid.x; add.u32 %r1, %r1, %r9; st.shared.u32 [%r3], %r1; st.shared.u32 [%r3+4096], %r1; bar.sync 0; sub.u32 %r1, %r1, %r9; ld.shared.u32 %r8, [%r2+4]; atom.shared.add.u32 %r7, [%r2], 1;" +
		"mov.u32 %r5, 1; setp.eq.u32 %p1, %r5, 1; mov.u64 %rd2, 1;"
	good := kernel(fill)
	faults := map[string]string{
		"ld.shared.u32 %r1, [%r3];":                   "reads shared memory at offset",
		"ld.shared.u32 %r1, [%r3+4096];":              "reads shared memory at offset",
		"atom.shared.add.u32 %r1, [%r2], 1;":          "reads shared memory at offset",
		"mov.u32 %r6, 2; add.u32 %r1, %r5, %r6;":      "reads register %r5,",
		"mov.u32 %r5, 3; @%p1 mov.u32 %r1, %r5;":      "reads predicate %p1,",
		"mov.u64 %rd3, 2; add.u64 %rd1, %rd2, %rd3;":  "reads register %rd2,",
		"cp.async.wait_all; ld.shared.u8 %r1, [%r2];": "reads shared memory at offset",
	}
	r := newRig(t, Options{Workers: 1})
	out := r.empty(4 * 256)
	for body, want := range faults {
		for _, block := range []int{32, 256, 64} {
			require.NoError(t, r.launch(good, 2, block, 8192, out))
			require.NoError(t, r.launch(kernel(""), 1, 32, 64, out))
			err := r.launch(kernel(body), 1, block, 6144, out)
			require.ErrorContains(t, err, want)
			require.ErrorContains(t, err, ", which was never written")
		}
	}
}

// The lanes that used shared memory in the block before are not left behind by an arrival in the next one.
func TestLanesOfTheBlockBeforeAreForgotten(t *testing.T) {
	ptx := `.version 8.0
.target sm_90
.address_size 64
.extern .shared .align 1024 .b8 smem[];
.visible .entry k()
{
	.reg .pred %p<2>; .reg .b32 %r<8>;
	mov.u32 %r1, %tid.x; mov.u32 %r2, smem; mad.lo.u32 %r3, %r1, 4, %r2; setp.eq.u32 %p1, %r1, 0;
	@%p1 mbarrier.init.shared::cta.b64 [%r2], 1;
	@%p1 mbarrier.arrive.shared::cta.b64 _, [%r2];
	st.shared.u32 [%r3+64], %r1;
	ret;
}`
	require.NoError(t, newRig(t, Options{Workers: 1}).launch(ptx, 2, 32, 1024))
}
