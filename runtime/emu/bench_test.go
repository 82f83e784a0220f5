package emu

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkLanes measures plain arithmetic: a loop of 32-bit integer and float instructions on full warps.
func BenchmarkLanes(b *testing.B) {
	const loops, body = 1000, 40
	var s strings.Builder
	for i := range body / 4 {
		fmt.Fprintf(&s, "add.u32 %%r%d, %%r1, %%r2; fma.rn.f32 %%f1, %%f1, %%f2, %%f3; xor.b32 %%r%d, %%r%d, %%r1; mul.f32 %%f4, %%f1, %%f2;\n", 10+i%4, 14+i%4, 10+i%4)
	}
	ptx := warpKernel(fmt.Sprintf(`mov.u32 %%r0, 0; mov.u32 %%r4, 0;
	mov.f32 %%f1, 0f3F800000; mov.f32 %%f2, 0f3F000000; mov.f32 %%f3, 0f3E800000;
$loop:
	%s
	add.u32 %%r4, %%r4, 1; setp.lt.u32 %%p1, %%r4, %d; @%%p1 bra $loop;`, s.String(), loops))
	r := newRig(b, Options{Workers: 1})
	out := r.empty(4 * 128)
	f := r.function(ptx)
	l := launchOf([3]uint32{1, 1, 1}, [3]uint32{128, 1, 1}, 0)
	for b.Loop() {
		require.NoError(b, f.Launch(l, encodeArgs([]any{out}), nil))
	}
	lanes := float64(r.dev.LastStats().Instructions) * 32 * float64(b.N)
	b.ReportMetric(lanes/b.Elapsed().Seconds()/1e6, "Mlanes/s")
}

// BenchmarkTile does the work of one 128x64 attention tile at head dim 128 on 4 warps: 256 mma, 80 ldmatrix, 64
// exponentials and 40 copies for each warp.
func BenchmarkTile(b *testing.B) {
	const tiles = 8
	r := newRig(b, Options{Workers: 1})
	in, out := r.upload(make([]byte, 64<<10)), r.empty(4*128)
	f := r.function(tileKernel(tiles))
	l := launchOf([3]uint32{1, 1, 1}, [3]uint32{128, 1, 1}, 64<<10)
	for b.Loop() {
		require.NoError(b, f.Launch(l, encodeArgs([]any{in, out}), nil))
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N)/tiles, "ms/tile")
}

func tileKernel(tiles int) string {
	var s strings.Builder
	for i := range 32 {
		fmt.Fprintf(&s, "cp.async.cg.shared.global.L2::128B [%%r3+%d], [%%rd1+%d], 16;\n", 2048*i, 2048*i)
	}
	s.WriteString("cp.async.commit_group; cp.async.wait_group 0; bar.sync 0;\n")
	for i := range 80 {
		fmt.Fprintf(&s, "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%%r10,%%r11,%%r12,%%r13}, [%%r4+%d];\n", 512*i)
		for j := range 16*(i+1)/5 - 16*i/5 {
			fmt.Fprintf(&s, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%%f%d,%%f%d,%%f%d,%%f%d}, {%%r10,%%r11,%%r12,%%r13}, {%%r10,%%r11}, {%%f%d,%%f%d,%%f%d,%%f%d};\n",
				4*j, 4*j+1, 4*j+2, 4*j+3, 4*j, 4*j+1, 4*j+2, 4*j+3)
		}
	}
	for i := range 64 {
		fmt.Fprintf(&s, "fma.rn.f32 %%f20, %%f%d, %%f2, %%f3; ex2.approx.ftz.f32 %%f20, %%f20; add.f32 %%f21, %%f21, %%f20; max.f32 %%f22, %%f22, %%f20; mul.f32 %%f23, %%f20, %%f21; cvt.rn.bf16x2.f32 %%r14, %%f20, %%f21;\n", i%16)
	}
	var zero strings.Builder
	for i := range 24 {
		fmt.Fprintf(&zero, "mov.f32 %%f%d, 0f00000000;", i)
	}
	return header + fmt.Sprintf(`.visible .entry k(.param .u64 in, .param .u64 out)
{
	.reg .pred %%p<4>; .reg .b32 %%r<32>; .reg .f32 %%f<32>; .reg .b64 %%rd<8>;
	mov.u32 %%r1, %%tid.x; mov.u32 %%r2, smem; mad.lo.u32 %%r3, %%r1, 16, %%r2;
	and.b32 %%r4, %%r1, 31; mad.lo.u32 %%r4, %%r4, 16, %%r2; mov.u32 %%r5, 0;
	ld.param.u64 %%rd1, [in]; mad.wide.u32 %%rd1, %%r1, 16, %%rd1;
	%s
$loop:
	%s
	bar.sync 0;
	add.u32 %%r5, %%r5, 1; setp.lt.u32 %%p1, %%r5, %d; @%%p1 bra $loop;
	ld.param.u64 %%rd2, [out]; mad.wide.u32 %%rd2, %%r1, 4, %%rd2; st.global.f32 [%%rd2], %%f21;
	ret;
}`, zero.String(), s.String(), tiles)
}

// BenchmarkWgmma multiplies 64x16 by 16x128 in shared memory, eight times a group, as the scores of a tile of head dim 128.
func BenchmarkWgmma(b *testing.B) {
	const steps, loops, n = 8, 16, 128
	body := strings.Repeat(wgmmaCase{n: n, aMode: 1, bMode: 1, signA: 1, signB: 1}.instruction("1"), steps)
	ptx := wgmmaKernel(48<<10, n, wgmmaZero(n)+fmt.Sprintf(`mov.u32 %%r20, 0;
$loop:
	wgmma.fence.sync.aligned; %s wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;
	add.u32 %%r20, %%r20, 1; setp.lt.u32 %%p2, %%r20, %d; @%%p2 bra $loop;`, body, loops))
	r := newRig(b, Options{Workers: 1})
	args := encodeArgs([]any{r.upload(make([]byte, 48<<10)), layoutOf(1, false, 64, 0).descriptor(), layoutOf(1, false, n, 16<<10).descriptor(),
		r.upload(make([]byte, 2048)), r.empty(128 * 2 * n)})
	f := r.function(ptx)
	l := launchOf([3]uint32{1, 1, 1}, [3]uint32{128, 1, 1}, 48<<10)
	for b.Loop() {
		require.NoError(b, f.Launch(l, args, nil))
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/loops/steps, "us/wgmma")
}

func wgmmaZero(n int) string {
	var s strings.Builder
	for i := range n / 2 {
		fmt.Fprintf(&s, "mov.f32 %%f%d, 0f00000000;\n", i)
	}
	return s.String()
}
