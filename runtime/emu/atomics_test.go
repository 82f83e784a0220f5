package emu

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSharedAtomics counts in shared memory with all warps at once, in any order of the warps.
func TestSharedAtomics(t *testing.T) {
	ptx := header + `.visible .entry k(.param .u64 out)
{
	.reg .pred %p<2>; .reg .b32 %r<8>; .reg .b64 %rd<4>;
	mov.u32 %r1, %tid.x; mov.u32 %r2, smem; mad.lo.u32 %r3, %r1, 4, %r2;
	mov.u32 %r0, 0;
	st.shared.u32 [%r3], %r0;
	bar.sync 0;
	and.b32 %r4, %r1, 7; mad.lo.u32 %r4, %r4, 4, %r2;
	atom.shared.add.u32 %r5, [%r4], 2;
	red.shared.max.u32 [smem+32], %r1;
	red.relaxed.cta.shared.or.b32 [%r4+64], %r1;
	bar.sync 0;
	ld.shared.u32 %r6, [%r3];
	mov.u32 %r7, %ctaid.x; mad.lo.u32 %r7, %r7, 128, %r1; // each block writes results of its own
	ld.param.u64 %rd1, [out]; mad.wide.u32 %rd1, %r7, 4, %rd1; st.global.u32 [%rd1], %r6;
	bar.sync 0;
	st.shared.u32 [%r3], %r0;
	ret;
}`
	want := make([]uint32, 128)
	for i := range 8 {
		want[i], want[16+i] = 2*16, 0x78|uint32(i)
	}
	want[8] = 127
	want = append(want, want...)
	for seed := range uint64(20) {
		r := newRig(t, Options{Seed: seed})
		out := r.empty(4 * 256)
		require.NoError(t, r.launch(ptx, 2, 128, 512, out))
		require.Equal(t, want, unwords(r.download(out, 4*256)))
	}
}
