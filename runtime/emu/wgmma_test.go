package emu

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// header90 is header for the target that has wgmma.
var header90 = strings.NewReplacer("7.4", "8.0", "sm_80", "sm_90a").Replace(header)

// names gives a brace list of registers.
func names(prefix string, from, n int) string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprintf("%s%d", prefix, from+i)
	}
	return "{" + strings.Join(s, ",") + "}"
}

// wgmmaKernel runs a body on one warpgroup. Before it, image bytes have been copied to shared memory, %rd1 and %rd2 are
// the descriptors that the launch gives, %r1 is tid, %r4.. are four registers of each thread from the third argument.
// After it each thread stores its sums %f0...
func wgmmaKernel(image, n int, body string) string {
	var out strings.Builder
	for i := range n / 2 {
		fmt.Fprintf(&out, "st.global.f32 [%%rd6+%d], %%f%d;\n", 4*i, i)
	}
	return header90 + fmt.Sprintf(`.visible .entry k(.param .u64 image, .param .u64 a, .param .u64 b, .param .u64 regs, .param .u64 out)
{
	.reg .pred %%p<8>; .reg .b32 %%r<32>; .reg .f32 %%f<260>; .reg .b64 %%rd<16>;
	mov.u32 %%r1, %%tid.x; mov.u32 %%r2, smem; mul.lo.u32 %%r3, %%r1, 16;
	ld.param.u64 %%rd4, [image]; cvt.u64.u32 %%rd5, %%r3; add.u64 %%rd4, %%rd4, %%rd5; add.u32 %%r2, %%r2, %%r3;
$fill:
	setp.ge.u32 %%p1, %%r3, %d; @%%p1 bra $filled;
	ld.global.v4.u32 {%%r10,%%r11,%%r12,%%r13}, [%%rd4];
	st.shared.v4.u32 [%%r2], {%%r10,%%r11,%%r12,%%r13};
	add.u64 %%rd4, %%rd4, 2048; add.u32 %%r2, %%r2, 2048; add.u32 %%r3, %%r3, 2048;
	bra $fill;
$filled:
	fence.proxy.async.shared::cta;
	bar.sync 0;
	ld.param.u64 %%rd1, [a]; ld.param.u64 %%rd2, [b];
	ld.param.u64 %%rd3, [regs]; mad.wide.u32 %%rd3, %%r1, 16, %%rd3;
	ld.global.v4.u32 {%%r4,%%r5,%%r6,%%r7}, [%%rd3];
	ld.param.u64 %%rd6, [out]; mad.wide.u32 %%rd6, %%r1, %d, %%rd6;
	%s
	%s
	ret;
}
`, image, 2*n, body, out.String())
}

// layout is a canonical layout of an operand, in the test's own words: where element (line, k) lies.
type layout struct {
	mode           uint64 // of the descriptor
	mn             bool   // MN-major
	lbo, sbo, base int
}

func (l layout) at(line, k int) int {
	width := [4]int{16, 128, 64, 32}[l.mode]
	var at int
	switch {
	case l.mode == 0 && l.mn:
		at = line%8*2 + line/8*l.sbo + k%8*16 + k/8*l.lbo
	case l.mode == 0:
		at = line%8*16 + line/8*l.sbo + k/8*l.lbo + k%8*2
	case l.mn:
		w := width / 2
		at = line%w*2 + line/w*l.lbo + k%8*width + k/8*l.sbo
	default:
		at = line%8*width + line/8*l.sbo + 2*k
	}
	at += l.base
	mask := [4]int{0, 7, 3, 1}[l.mode]
	return at ^ (at>>7&mask)<<4
}

func (l layout) descriptor() int64 {
	return int64(l.mode<<62 | uint64(l.sbo>>4)<<32 | uint64(l.lbo>>4)<<16 | uint64(l.base+sharedBase)>>4)
}

// layoutOf gives a dense layout of lines x 16 elements and its size.
func layoutOf(mode uint64, mn bool, lines, base int) layout {
	width := [4]int{16, 128, 64, 32}[mode]
	l := layout{mode: mode, mn: mn, base: base, sbo: 8 * width, lbo: 16}
	switch {
	case mode == 0 && mn:
		l.sbo, l.lbo = 256, 128
	case mode == 0:
		l.sbo, l.lbo = 256, 128
	case mn:
		l.lbo = 16 * width
	}
	return l
}

// random16 is a random value of a 16-bit type, as bits and as a number.
func random16(rng *rand.Rand, half bool) (uint16, float64) {
	x := float32(rng.NormFloat64())
	if half {
		h := uint16(toF16(math.Float32bits(x)))
		return h, float64(fromF16(uint32(h)))
	}
	h := uint16(math.Float32bits(x) >> 16)
	return h, float64(math.Float32frombits(uint32(h) << 16))
}

// wgmmaCase is one instruction to try against float64.
type wgmmaCase struct {
	n            int
	rs, half     bool
	aMode, bMode uint64
	aMN, bMN     bool
	signA, signB int
}

func (c wgmmaCase) String() string {
	return fmt.Sprintf("n=%d rs=%v half=%v a=%d,%v b=%d,%v signs %d %d", c.n, c.rs, c.half, c.aMode, c.aMN, c.bMode, c.bMN, c.signA, c.signB)
}

func flagOf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// instruction is the PTX with a given scale-d.
func (c wgmmaCase) instruction(scale string) string {
	typ, a := "bf16.bf16", "%rd1"
	trans := fmt.Sprintf("%d, %d", flagOf(c.aMN), flagOf(c.bMN))
	if c.half {
		typ = "f16.f16"
	}
	if c.rs {
		a, trans = names("%r", 4, 4), fmt.Sprint(flagOf(c.bMN))
	}
	return fmt.Sprintf("wgmma.mma_async.sync.aligned.m64n%dk16.f32.%s %s, %s, %%rd2, %s, %d, %d, %s;\n", c.n, typ, names("%f", 0, c.n/2), a, scale, c.signA, c.signB, trans)
}

// run multiplies random matrices twice, the second time on top of the first, and compares.
func (c wgmmaCase) run(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, uint64(c.n)))
	const bBase = 16 << 10
	image, regs := make([]byte, 64<<10), make([]byte, 128*16)
	var a [64][16]float64
	b := make([][16]float64, c.n)
	la, lb := layoutOf(c.aMode, c.aMN, 64, 0), layoutOf(c.bMode, c.bMN, c.n, bBase)
	for i := range a {
		for k := range a[i] {
			var bits uint16
			bits, a[i][k] = random16(rng, c.half)
			binary.LittleEndian.PutUint16(image[la.at(i, k):], bits)
			// row 16w+g+8h, column 2t+8j+x is half x of register h+2j of lane 4g+t of warp w
			lane, reg := i/16*32+i%8*4+k%8/2, i%16/8+k/8*2
			binary.LittleEndian.PutUint16(regs[16*lane+4*reg+k%2*2:], bits)
		}
	}
	for i := range b {
		for k := range b[i] {
			var bits uint16
			bits, b[i][k] = random16(rng, c.half)
			binary.LittleEndian.PutUint16(image[lb.at(i, k):], bits)
		}
	}
	r := newRig(t, Options{Seed: seed})
	out := r.empty(128 * 2 * c.n)
	body := "wgmma.fence.sync.aligned;\n" + c.instruction("0") + c.instruction("1") + "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n"
	require.NoError(t, r.launch(wgmmaKernel(len(image), c.n, body), 1, 128, len(image),
		r.upload(image), la.descriptor(), lb.descriptor(), r.upload(regs), out), c.String())
	got := unwords(r.download(out, 128*2*c.n))
	for lane := range 128 {
		for i := range c.n / 2 {
			row, col := lane/32*16+lane%32/4+i/2%2*8, i/4*8+lane%4*2+i%2
			want := 0.0
			for k := range 16 {
				want += 2 * float64(c.signA*c.signB) * a[row][k] * b[col][k]
			}
			require.InDelta(t, want, math.Float32frombits(got[lane*c.n/2+i]), 2e-6*max(1, math.Abs(want)), "%s: row %d column %d", c, row, col)
		}
	}
}

// TestWgmma: every N, both majors of both operands, every swizzle, A in registers and in shared memory, both types.
func TestWgmma(t *testing.T) {
	for n := 8; n <= 256; n += 8 {
		i := n / 8
		wgmmaCase{n: n, rs: i%3 == 0, half: i%2 == 0, aMode: uint64(i % 4), bMode: uint64(i / 2 % 4), aMN: i%5 < 2 && i%3 != 0, bMN: i%7 < 4, signA: 1, signB: 1}.run(t, uint64(n))
	}
	for mode := range uint64(4) {
		for bits := range 8 {
			wgmmaCase{n: 80, aMode: mode, bMode: (mode + uint64(bits)) % 4, half: bits&1 != 0, aMN: bits&2 != 0, bMN: bits&4 != 0, signA: 1, signB: 1}.run(t, 7)
		}
	}
	for _, rs := range []bool{false, true} {
		wgmmaCase{n: 32, rs: rs, aMode: 1, bMode: 1, bMN: true, signA: -1, signB: 1}.run(t, 1)
		wgmmaCase{n: 32, rs: rs, aMode: 2, bMode: 3, signA: -1, signB: -1}.run(t, 2)
	}
}

// TestWgmmaGemm: k-steps inside a swizzled panel, A and B in two panels, two groups of copies in flight at once, and
// scale-d as a predicate, as attention kernels do it.
func TestWgmmaGemm(t *testing.T) {
	const n, k, panel = 48, 128, 64 * 128
	rng := rand.New(rand.NewPCG(1, 2))
	image := make([]byte, 2*panel+2*n*128)
	var a [64][k]float64
	var b [n][k]float64
	put := func(base, rows, i, j int) (x float64) {
		var bits uint16
		bits, x = random16(rng, false)
		l := layout{mode: 1, sbo: 1024, base: base + j/64*rows*128}
		binary.LittleEndian.PutUint16(image[l.at(i, j%64):], bits)
		return x
	}
	for i := range a {
		for j := range k {
			a[i][j] = put(0, 64, i, j)
		}
	}
	for i := range b {
		for j := range k {
			b[i][j] = put(2*panel, n, i, j)
		}
	}
	body := "wgmma.fence.sync.aligned;\nsetp.ne.u32 %p2, 0, 0; setp.eq.u32 %p3, 0, 0;\n"
	for step := range k / 16 {
		if step == 4 {
			body += fmt.Sprintf("add.u64 %%rd1, %%rd1, %d; add.u64 %%rd2, %%rd2, %d;\nwgmma.commit_group.sync.aligned;\n", panel/16-8, n*128/16-8)
		}
		body += wgmmaCase{n: n, signA: 1, signB: 1}.instruction([]string{"%p2", "%p3"}[min(step, 1)])
		body += "add.u64 %rd1, %rd1, 2; add.u64 %rd2, %rd2, 2;\n"
	}
	body += "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 1;\nwgmma.wait_group.sync.aligned 0;\n"
	for seed := range uint64(4) {
		r := newRig(t, Options{Seed: seed})
		out := r.empty(128 * 2 * n)
		la, lb := layout{mode: 1, lbo: 16, sbo: 1024}, layout{mode: 1, lbo: 16, sbo: 1024, base: 2 * panel}
		require.NoError(t, r.launch(wgmmaKernel(len(image), n, body), 1, 128, len(image), r.upload(image), la.descriptor(), lb.descriptor(), r.upload(make([]byte, 2048)), out))
		got := unwords(r.download(out, 128*2*n))
		for lane := range 128 {
			for i := range n / 2 {
				row, col := lane/32*16+lane%32/4+i/2%2*8, i/4*8+lane%4*2+i%2
				want := 0.0
				for j := range k {
					want += a[row][j] * b[col][j]
				}
				require.InDelta(t, want, math.Float32frombits(got[lane*n/2+i]), 1e-4, "row %d column %d", row, col)
			}
		}
	}
}
