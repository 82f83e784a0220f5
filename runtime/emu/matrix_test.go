package emu

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMatrix multiplies through shared memory, ldmatrix and mma for both types, from random 16x16 and 16x8 tiles with
// all four ways to address them, against plain sums.
func TestMatrix(t *testing.T) {
	for _, typ := range []string{"bf16", "f16"} {
		for _, trans := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s trans=%v", typ, trans), func(t *testing.T) { testMatrix(t, typ, trans) })
		}
	}
}

// matrixKernel multiplies a 16x16 matrix with a 16x8 one, whose fragments load brings, and adds 1.
func matrixKernel(typ, load string) string {
	return header + `.visible .entry k(.param .u64 in, .param .u64 out)
{
	.reg .b32 %r<32>; .reg .b64 %rd<8>; .reg .f32 %f<16>;
	mov.u32 %r1, %tid.x; mov.u32 %r2, smem;
	ld.param.u64 %rd1, [in]; mad.wide.u32 %rd1, %r1, 32, %rd1; mad.lo.u32 %r3, %r1, 32, %r2;
	ld.global.v4.u32 {%r4,%r5,%r6,%r7}, [%rd1]; st.shared.v4.u32 [%r3], {%r4,%r5,%r6,%r7};
	ld.global.v4.u32 {%r4,%r5,%r6,%r7}, [%rd1+16]; st.shared.v4.u32 [%r3+16], {%r4,%r5,%r6,%r7};
	bar.sync 0;
	and.b32 %r5, %r1, 15; shl.b32 %r5, %r5, 5; shr.u32 %r6, %r1, 4; mad.lo.u32 %r5, %r6, 16, %r5; add.u32 %r5, %r5, %r2;
	ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r5];
	` + load + `
	mov.f32 %f1, 0f3F800000;
	mma.sync.aligned.m16n8k16.row.col.f32.` + typ + "." + typ + `.f32 {%f4,%f5,%f6,%f7}, {%r10,%r11,%r12,%r13}, {%r8,%r9}, {%f1,%f1,%f1,%f1};
	// element (g, 2t) of the result is at 4*(8g+2t) bytes
	ld.param.u64 %rd2, [out]; shr.u32 %r14, %r1, 2; and.b32 %r15, %r1, 3; shl.b32 %r15, %r15, 1; mad.lo.u32 %r14, %r14, 8, %r15;
	mad.wide.u32 %rd2, %r14, 4, %rd2;
	st.global.v2.f32 [%rd2], {%f4,%f5}; st.global.v2.f32 [%rd2+256], {%f6,%f7};
	ret;
}`
}

func testMatrix(t *testing.T, typ string, trans bool) {
	rng := rand.New(rand.NewPCG(7, 8))
	narrow, widen := toBF16, fromBF16
	if typ == "f16" {
		narrow, widen = toF16, fromF16
	}
	value := func() uint32 { return narrow(math.Float32bits(float32(rng.NormFloat64()))) }
	var a [16][16]uint32 // row, k
	var b [16][8]uint32  // k, column
	mem := make([]byte, 1024)
	for i := range a {
		for k := range a[i] {
			a[i][k] = value()
			binary.LittleEndian.PutUint16(mem[32*i+2*k:], uint16(a[i][k]))
		}
	}
	for k := range b {
		for j := range b[k] {
			b[k][j] = value()
			at := 512 + 32*j + 2*k // column after column, 16 k each
			if trans {
				at = 512 + 16*k + 2*j
			}
			binary.LittleEndian.PutUint16(mem[at:], uint16(b[k][j]))
		}
	}
	load := `and.b32 %r5, %r1, 7; shl.b32 %r5, %r5, 5; bfe.u32 %r6, %r1, 3, 1; mad.lo.u32 %r5, %r6, 16, %r5; add.u32 %r5, %r5, %r2;
	ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r8, %r9}, [%r5+512];`
	if trans {
		load = `and.b32 %r5, %r1, 15; shl.b32 %r5, %r5, 4; add.u32 %r5, %r5, %r2;
		ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r8, %r9}, [%r5+512];`
	}
	r := newRig(t, Options{})
	in, out := r.upload(mem), r.empty(512)
	require.NoError(t, r.launch(matrixKernel(typ, load), 1, 32, 1024, in, out))
	got := unwords(r.download(out, 512))
	for i := range a {
		for j := range 8 {
			sum := 1.0
			for k := range 16 {
				sum += float64(widen(a[i][k])) * float64(widen(b[k][j]))
			}
			require.InDelta(t, sum, f32(got[8*i+j]), 1e-6*(1+math.Abs(sum)), "row %d column %d", i, j)
		}
	}
}

// TestBankConflicts counts extra passes of known access patterns.
func TestBankConflicts(t *testing.T) {
	cases := []struct {
		name, body string
		want       int64
	}{
		{"consecutive words", "st.shared.u32 [%r3], %r1;", 0},
		{"stride of two words", "mad.lo.u32 %r5, %r1, 8, %r2; st.shared.u32 [%r5], %r1;", 1},
		{"stride of 32 words", "mad.lo.u32 %r5, %r1, 128, %r2; st.shared.u32 [%r5], %r1;", 31},
		{"broadcast", "mov.u32 %r5, 3; st.shared.u32 [%r2], %r5;", 0},
		{"16 bytes a lane", "mad.lo.u32 %r5, %r1, 16, %r2; st.shared.v4.u32 [%r5], {%r1,%r1,%r1,%r1};", 0},
		{"16 bytes, stride 32", "mad.lo.u32 %r5, %r1, 32, %r2; st.shared.v4.u32 [%r5], {%r1,%r1,%r1,%r1};", 4},
		{"ldmatrix, rows of 128 bytes", `mad.lo.u32 %r5, %r1, 128, %r2;
			st.shared.v4.u32 [%r5], {%r1,%r1,%r1,%r1};
			bar.sync 0;
			ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r6}, [%r5];`, 4*7 + 7},
		{"ldmatrix, swizzled rows", `and.b32 %r6, %r1, 7; shl.b32 %r6, %r6, 4; mad.lo.u32 %r5, %r1, 128, %r6; add.u32 %r5, %r5, %r2;
			st.shared.v4.u32 [%r5], {%r1,%r1,%r1,%r1};
			bar.sync 0;
			ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r6,%r7,%r8,%r9}, [%r5];`, 0},
	}
	for _, c := range cases {
		r := newRig(t, Options{})
		out := r.empty(128)
		require.NoError(t, r.launch(warpKernel(c.body+"mov.u32 %r0, 0;"), 1, 32, 4096, out), c.name)
		require.Equal(t, c.want, r.dev.LastStats().BankConflicts, c.name)
	}
}
