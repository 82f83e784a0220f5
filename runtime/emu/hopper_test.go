package emu

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/device"
)

// hopperKernel stores %r0 of every thread; the body starts with %r1 = tid, %r2 = smem, %r3 = smem+4*tid, %r4 = lane,
// %r5 = warp, %p7 = thread 0, %p6 = lane 0, and %rd1 a tensor map of 8 rows of 64 elements, which hold 1, 2, 3...
func hopperKernel(directives, body string) string {
	return header90 + `.visible .entry k(.param .align 64 .b8 tm[128], .param .u64 out)
` + directives + `
{
	.reg .pred %p<8>; .reg .b32 %r<40>; .reg .b64 %rd<8>; .reg .f32 %f<8>;
	mov.u32 %r1, %tid.x; mov.u32 %r2, smem; mad.lo.u32 %r3, %r1, 4, %r2; and.b32 %r4, %r1, 31; shr.u32 %r5, %r1, 5;
	setp.eq.u32 %p7, %r1, 0; setp.eq.u32 %p6, %r4, 0; mov.u32 %r0, 0; mov.u32 %r39, 0; mov.b64 %rd1, tm; cvta.param.u64 %rd1, %rd1;
` + body + `
	ld.param.u64 %rd7, [out]; mad.wide.u32 %rd7, %r1, 4, %rd7; st.global.u32 [%rd7], %r0;
	ret;
}
`
}

// runHopper gives what every thread stored, and the tensor.
func runHopper(t *testing.T, o Options, ptx string, block int) (out []uint32, tensor []uint32, err error) {
	r := newRig(t, o)
	v := make([]uint32, 256)
	for i := range v {
		v[i] = uint32(i + 1)
	}
	in, dst := r.upload(words(v...)), r.upload(make([]byte, 4*block))
	m, err := r.dev.LoadModule([]byte(ptx))
	if err != nil {
		return nil, nil, err
	}
	f, err := m.Function("k")
	require.NoError(t, err)
	tm := r.tensorMap(device.TensorMap{Base: in, Dims: []uint64{64, 8}, Strides: []uint64{128}, Box: []uint32{64, 8}, Swizzle: 0})
	err = f.Launch(launchOf([3]uint32{1, 1, 1}, [3]uint32{uint32(block), 1, 1}, 4096), encodeArgs([]any{tm, dst}), nil)
	return unwords(r.download(dst, 4*block)), unwords(r.download(in, 1024)), err
}

const (
	storeBox  = "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd1, {%r39, %r39}], [%r2]; cp.async.bulk.commit_group;"
	writeBox  = "mul.lo.u32 %r10, %r1, 3; st.shared.u32 [%r3], %r10;"
	oneBar    = "@%p7 mbarrier.init.shared::cta.b64 [%r2+2048], 1; @%p7 fence.mbarrier_init.release.cluster; bar.sync 0;"
	loadBox   = "@%p7 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2+2048], 1024; @%p7 cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd1, {%r39, %r39}], [%r2+2048];"
	arriveBox = "mbarrier.arrive.shared::cta.b64 _, [%r2+2048];"
	waitBox   = "$w: mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r2+2048], 0; @!%p1 bra $w;"
	exchange  = ".maxntid 256, 1, 1 .minnctapersm 1"
	producers = "setp.gt.u32 %p1, %r1, 127; @%p1 bra $c;"
)

// TestHopperKernels: programs that keep the rules give these values in all orders.
func TestHopperKernels(t *testing.T) {
	same := func(v uint32) func(int) uint32 { return func(int) uint32 { return v } }
	cases := []struct {
		name, directives, body string
		block                  int
		want                   func(tid int) uint32
		tensor                 func(i int) uint32 // after the run; nil: as before
	}{
		{"store", "", writeBox + "fence.proxy.async.shared::cta; bar.sync 0; @!%p7 bra $e;" + storeBox + "cp.async.bulk.wait_group.read 0; $e:", 256, same(0), func(i int) uint32 { return uint32(3 * i) }},
		{"store, read, overwrite", "", writeBox + "fence.proxy.async; bar.sync 0; @!%p7 bra $e;" + storeBox + "cp.async.bulk.wait_group.read 0; $e: bar.sync 0; st.shared.u32 [%r3], %r1; ld.shared.u32 %r0, [%r3];", 256, func(i int) uint32 { return uint32(i) }, func(i int) uint32 { return uint32(3 * i) }},
		{"two stores in two groups", "", writeBox + "fence.proxy.async; bar.sync 0; @!%p7 bra $e;" + storeBox + storeBox + "cp.async.bulk.wait_group.read 1; cp.async.bulk.wait_group 0; $e:", 256, same(0), func(i int) uint32 { return uint32(3 * i) }},
		{"load", "", oneBar + loadBox + waitBox + "ld.shared.u32 %r0, [%r3];", 256, func(i int) uint32 { return uint32(i + 1) }, nil},
		{"load, wait by one warp, then a barrier", "", oneBar + loadBox + "setp.gt.u32 %p2, %r1, 31; @%p2 bra $s;" + waitBox + "$s: bar.sync 0; ld.shared.u32 %r0, [%r3];", 256, func(i int) uint32 { return uint32(i + 1) }, nil},
		{"load over what was read", "", oneBar + loadBox + waitBox + "ld.shared.u32 %r0, [%r3]; bar.sync 0; @%p7 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2+2048], 1024; @%p7 cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd1, {%r39, %r39}], [%r2+2048]; $v: mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r2+2048], 1; @!%p1 bra $v;", 256, func(i int) uint32 { return uint32(i + 1) }, nil},
		{"initialise, invalidate, reuse", "", oneBar + loadBox + waitBox + "bar.sync 0; @%p7 mbarrier.inval.shared::cta.b64 [%r2+2048]; @%p7 st.shared.u32 [%r2+2048], %r1; @%p7 ld.shared.u32 %r0, [%r2+2048]; mov.u32 %r0, 1;", 256, same(1), nil},
		{"counted arrivals and a token", "", "@%p7 mbarrier.init.shared.b64 [%r2+2048], 4; bar.sync 0; @!%p7 bra $e; mbarrier.arrive.shared.b64 %rd2, [%r2+2048], 3; mbarrier.test_wait.shared.b64 %p1, [%r2+2048], %rd2; selp.u32 %r0, 1, 0, %p1; mbarrier.arrive.shared.b64 _, [%r2+2048]; mbarrier.test_wait.shared.b64 %p1, [%r2+2048], %rd2; @%p1 add.u32 %r0, %r0, 2; $e:", 32, func(i int) uint32 { return map[bool]uint32{true: 2}[i == 0] }, nil},
		{"values through an mbarrier", "", "@%p7 mbarrier.init.shared.b64 [%r2+2048], 32; bar.sync 0; setp.gt.u32 %p2, %r1, 31; @%p2 bra $c; st.shared.u32 [%r3], %r1; mbarrier.arrive.shared.b64 _, [%r2+2048]; bra $e; $c:" + waitBox + "ld.shared.u32 %r0, [%r3+-128]; $e:", 64, func(i int) uint32 { return uint32(max(i-32, 0)) }, nil},
		{"copies that arrive", "", "@%p7 mbarrier.init.shared.b64 [%r2+2048], 256; bar.sync 0; ld.param.u64 %rd2, [out]; st.global.u32 [%rd2], %r39; cp.async.ca.shared.global [%r3], [%rd2], 4; cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r2+2048]; xor.b32 %r6, %r3, 256;" + waitBox + "ld.shared.u32 %r0, [%r6];", 256, same(0), nil},
		{"elect", "", "elect.sync %r6|%p1, -1; selp.u32 %r7, 1, 0, %p1; redux.sync.add.u32 %r0, %r7, -1; setp.eq.u32 %p2, %r6, %r4; @!%p2 bra $e; @%p1 add.u32 %r0, %r0, 6; $e: redux.sync.max.u32 %r0, %r0, -1;", 64, same(7), nil},
		{"exchange of registers", ".maxntid 384, 1, 1 .minnctapersm 1", producers + "setmaxnreg.dec.sync.aligned.u32 24; mov.u32 %r0, 24; bra $e; $c: setmaxnreg.inc.sync.aligned.u32 240; mov.u32 %r0, 240; $e:", 384, func(i int) uint32 { return map[bool]uint32{true: 24, false: 240}[i < 128] }, nil},
		{"named barriers by register", "", "setp.gt.u32 %p1, %r1, 31; mov.u32 %r6, 3; mov.u32 %r7, 64; @%p1 bra $c; st.shared.u32 [%r3], %r1; bar.arrive %r6, %r7; bra $e; $c: bar.sync %r6, 64; ld.shared.u32 %r0, [%r3+-128]; $e:", 64, func(i int) uint32 { return uint32(max(i-32, 0)) }, nil},
		{"a vote that one lane of a warp carries", "", "setp.eq.u32 %p1, %r1, 40; bar.red.or.pred %p2, 3, 64, %p1; selp.u32 %r0, 1, 0, %p2; bar.red.and.pred %p2, 3, 64, %p1; @%p2 add.u32 %r0, %r0, 2; bar.red.and.pred %p2, 3, 64, !%p2; @%p2 add.u32 %r0, %r0, 4;", 64, same(5), nil},
		{"a vote that nobody carries", "", "setp.eq.u32 %p1, %r1, 64; bar.red.or.pred %p2, 3, 64, %p1; selp.u32 %r0, 1, 2, %p2;", 64, same(2), nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(20) {
				out, tensor, err := runHopper(t, Options{Seed: seed}, hopperKernel(c.directives, c.body), c.block)
				require.NoError(t, err, "seed %d", seed)
				for i, v := range out {
					require.Equal(t, c.want(i), v, "thread %d, seed %d", i, seed)
				}
				for i, v := range tensor {
					want := uint32(i + 1)
					if c.tensor != nil {
						want = c.tensor(i)
					}
					require.Equal(t, want, v, "word %d of the tensor, seed %d", i, seed)
				}
			}
		})
	}
}

// hopperFault is a program that breaks a rule, and what the fault says.
type hopperFault struct {
	name, directives, body string
	block                  int
	want                   string
}

func (c hopperFault) check(t *testing.T) {
	for seed := uint64(0); seed < 20; seed += 2 {
		_, _, err := runHopper(t, Options{Seed: seed}, hopperKernel(c.directives, c.body), c.block)
		requireFault(t, err, c.want, seed)
	}
}

// TestHopperFaults: each of these programs breaks one rule, which is found in all orders.
func TestHopperFaults(t *testing.T) {
	for _, c := range []hopperFault{
		{"store without a fence", "", writeBox + "bar.sync 0; @!%p7 bra $e;" + storeBox + "cp.async.bulk.wait_group.read 0; $e:", 256,
			"reads shared memory at offset 0 through the async proxy, written by warp 0 at PTX line 11, which executed no fence.proxy.async between"},
		{"store with a fence for global memory", "", writeBox + "fence.proxy.async.global; bar.sync 0; @!%p7 bra $e;" + storeBox + "cp.async.bulk.wait_group.read 0; $e:", 256, "which executed no fence.proxy.async between"},
		{"store after the fence of its thread alone", "", writeBox + "bar.sync 0; @!%p7 bra $e; fence.proxy.async;" + storeBox + "cp.async.bulk.wait_group.read 0; $e:", 256, "reads shared memory at offset 4 through the async proxy, written by warp 0"},
		{"store without a barrier", "", writeBox + "fence.proxy.async; @!%p7 bra $e;" + storeBox + "cp.async.bulk.wait_group.read 0; $e:", 256, "race: reads shared memory at offset 128, written by warp 1 | never written"},
		{"store of bytes that nobody wrote", "", "@!%p7 bra $e;" + storeBox + "cp.async.bulk.wait_group.read 0; $e:", 256, "reads shared memory at offset 0, which was never written"},
		{"store not waited for", "", writeBox + "fence.proxy.async; bar.sync 0; @!%p7 bra $e;" + storeBox + "$e:", 256, "exits while the tensor store at PTX line 11 may still read shared memory: wait with cp.async.bulk.wait_group.read 0"},
		{"store not committed", "", writeBox + "fence.proxy.async; bar.sync 0; @!%p7 bra $e;" + strings.Replace(storeBox, "cp.async.bulk.commit_group;", "", 1) + "cp.async.bulk.wait_group.read 0; $e:", 256, "exits while the tensor store"},
		{"store waited for by another thread", "", writeBox + "fence.proxy.async; bar.sync 0; @!%p7 bra $e;" + storeBox + "$e: @!%p7 cp.async.bulk.wait_group.read 0;", 256, "exits while the tensor store"},
		{"store overwritten", "", writeBox + "fence.proxy.async; bar.sync 0; @%p7 " + strings.Replace(storeBox, "cp.async.bulk.commit", "@%p7 cp.async.bulk.commit", 1) + "st.shared.u32 [%r3], %r1; cp.async.bulk.wait_group.read 0;", 256, "which a tensor store still reads: wait with cp.async.bulk.wait_group.read first | race: reads shared memory"},
		{"store overwritten without a barrier", "", writeBox + "fence.proxy.async; bar.sync 0; @!%p7 bra $e;" + storeBox + "cp.async.bulk.wait_group.read 0; $e: @!%p6 bra $f; st.shared.u32 [%r3], %r1; $f:", 256, "race: writes shared memory at offset | which a tensor store still reads | reads shared memory at offset"},

		{"store from below zero", "", writeBox + "fence.proxy.async; bar.sync 0; mov.u32 %r38, -1; @!%p7 bra $e;" + strings.Replace(storeBox, "{%r39, %r39}", "{%r39, %r38}", 1) + "cp.async.bulk.wait_group.read 0; $e:", 256, "stores a box from coordinate -1 of dimension 1 on, which the hardware refuses as an illegal instruction"},
		{"load read by a warp that did not wait", "", oneBar + loadBox + "setp.gt.u32 %p2, %r1, 31; @%p2 bra $s;" + waitBox + "$s: ld.shared.u32 %r0, [%r3];", 256, "whose mbarrier this warp has not waited for | is still in flight | was never written"},
		{"load over a read", "", "st.shared.u32 [%r3], %r1; fence.proxy.async;" + oneBar + "ld.shared.u32 %r0, [%r3]; bar.warp.sync -1;" + loadBox + waitBox, 64, "race: writes shared memory at offset 128, read by warp 1, with no barrier between | is still in flight | whose mbarrier this warp has not waited for"},
		{"write under a load", "", oneBar + loadBox + "bar.sync 0; st.shared.u32 [%r3], %r1;" + waitBox, 256, "writes shared memory at offset 0, where the tensor load at PTX line 11 is still in flight: wait for its mbarrier first | writes shared memory at offset"},
		{"load after cp.async without a fence", "", oneBar + "ld.param.u64 %rd2, [out]; @%p7 cp.async.ca.shared.global [%r2], [%rd2], 16; cp.async.wait_all; bar.sync 0;" + loadBox + waitBox, 64, "overwrites shared memory at offset 0 through the async proxy, written by the asynchronous copy of warp 0 lane 0 at PTX line 11"},
		{"load that nobody waits for", "", oneBar + loadBox, 64, "PTX line 11: the block ends while this is in flight: wait for its mbarrier first\n\t@%p7 cp.async.bulk.tensor.2d"},
		{"a vote beside a barrier without one", "", "setp.gt.u32 %p1, %r1, 31; @%p1 bra $c; bar.red.or.pred %p2, 3, 64, %p1; bra $e; $c: bar.sync 3, 64; $e:", 64, "at a barrier where others wait for something else"},
		{"test_wait without a loop", "", oneBar + loadBox + "mbarrier.test_wait.parity.shared.b64 %p1, [%r2+2048], 0; ld.shared.u32 %r0, [%r3];", 256, "is still in flight | never written"},
		{"wait for a phase that nobody ends", "", oneBar + waitBox, 64, "deadlock: no warp can run\n\twarp 0: waits for the mbarrier at offset 2048 of shared memory (initialised at PTX line 11), whose phase 0 still wants 1 of 1 arrivals and 0 bytes, PTX line 11: mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r2+2048], 0;\n\twarp 1: waits for"},
		{"arrival that may be a phase early", "", oneBar + "setp.ne.u32 %p2, %r4, 0; @%p2 bra $e; setp.gt.u32 %p2, %r1, 63; @%p2 bra $s;" + arriveBox + "bra $e; $s:" + waitBox + "$e:", 96,
			"arrives in phase 1 of the mbarrier at offset 2048 of shared memory (initialised at PTX line 11), and has not waited for the end of phase 0, nor for anything that follows it: in another order of the warps it would be in that phase"},
		{"bytes that may be expected a phase early", "", oneBar + "setp.ne.u32 %p2, %r4, 0; @%p2 bra $e; setp.gt.u32 %p2, %r1, 31; @%p2 bra $s;" + arriveBox + waitBox + "bra $e; $s: mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r2+2048], 16; $e:", 64,
			"expects bytes in phase 1 of the mbarrier at offset 2048 | waits for the mbarrier at offset 2048 of shared memory (initialised at PTX line 11), whose phase 0 still wants 0 of 1 arrivals and 16 bytes"},
		{"phase that may end too soon for a wait", "", oneBar + "setp.ne.u32 %p2, %r4, 0; @%p2 bra $e; setp.gt.u32 %p2, %r1, 31; @%p2 bra $s;" + arriveBox + waitBox + arriveBox + "bra $e; $s: mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r2+2048], 0; @!%p1 bra $s; $e:", 64,
			"ends phase 1 of the mbarrier at offset 2048 of shared memory (initialised at PTX line 11), and warp 1, which waits for phase 0, need not have passed: in another order of the warps it would find neither and wait for ever | deadlock: no warp can run\n\twarp 0: exited\n\twarp 1: waits for the mbarrier at offset 2048"},
		{"invalidated, then used", "", oneBar + "@%p7 mbarrier.inval.shared.b64 [%r2+2048]; @%p7 mbarrier.arrive.shared.b64 _, [%r2+2048];", 32, "uses the mbarrier at offset 2048 of shared memory, which is not initialised"},
		{"invalidated under a load", "", oneBar + loadBox + "@%p7 mbarrier.inval.shared.b64 [%r2+2048];", 32, "it is in use"},
		{"more bytes than an mbarrier counts", "", oneBar + "mov.u32 %r6, 1048576; @%p7 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r2+2048], %r6;", 32, "the count of bytes must stay within 1048575"},

		{"elect in a diverged warp", "", "setp.gt.u32 %p1, %r1, 7; @%p1 bra $e; elect.sync %r6|%p2, -1; $e:", 32, "elect.sync is executed by a diverged warp"},
		{"stmatrix misaligned", "", "stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r3], {%r1};", 32, "writes 16 bytes of shared memory at offset 4, which is not a multiple of 16"},
		{"stmatrix in a diverged warp", "", "@%p6 stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r2], {%r1};", 32, "is executed by a part of the warp"},

		{"more registers than there are", exchange, producers + "setmaxnreg.dec.sync.aligned.u32 64; bra $e; $c: setmaxnreg.inc.sync.aligned.u32 256; setmaxnreg.dec.sync.aligned.u32 232; setmaxnreg.inc.sync.aligned.u32 256; $e:", 384, "found a block of [384 1 1] threads, the kernel allows 256"},
		{"inc without enough dec", ".maxntid 384, 1, 1 .minnctapersm 1", producers + "setmaxnreg.dec.sync.aligned.u32 40; bra $e; $c: setmaxnreg.inc.sync.aligned.u32 240; $e:", 384, "waits for registers: the pool has"},
		{"no dec", ".maxntid 384, 1, 1 .minnctapersm 1", producers + "bra $e; $c: setmaxnreg.inc.sync.aligned.u32 176; $e:", 384, "waits for registers: the pool has 0 for each thread of a warp"},
		{"dec to more", ".maxntid 384, 1, 1 .minnctapersm 1", "setmaxnreg.dec.sync.aligned.u32 176;", 384, "setmaxnreg.dec to 176 registers, the warp holds 168"},
		{"inc to less", ".maxntid 384, 1, 1 .minnctapersm 1", "setmaxnreg.inc.sync.aligned.u32 160;", 384, "setmaxnreg.inc to 160 registers, the warp holds 168"},
		{"one warp of a warpgroup stays away", exchange, "setp.gt.u32 %p1, %r1, 95; @%p1 bra $e; setmaxnreg.dec.sync.aligned.u32 64; $e:", 128, "exits without the setmaxnreg that warp 0 of the same warpgroup executed: all four warps must execute it"},
		{"two setmaxnreg in a warpgroup", exchange, "setp.gt.u32 %p1, %r1, 63; @%p1 bra $e; setmaxnreg.dec.sync.aligned.u32 64; bra $f; $e: setmaxnreg.dec.sync.aligned.u32 64; $f:", 128, "of the same warpgroup executes the setmaxnreg at PTX line 11 instead: all four warps must execute the same one"},
		{"setmaxnreg in a diverged warp", exchange, "@%p6 setmaxnreg.dec.sync.aligned.u32 64;", 128, "setmaxnreg.dec.sync.aligned.u32 is executed by a part of the warp"},
		{"setmaxnreg without launch registers", ".maxntid 384, 1, 1", "setmaxnreg.dec.sync.aligned.u32 64;", 384, "line 11: setmaxnreg has no effect in a kernel without .maxnreg, or .maxntid and .minnctapersm"},
		{"an odd number of registers", exchange, "setmaxnreg.dec.sync.aligned.u32 60;", 128, "line 11: found 60 registers, setmaxnreg wants a multiple of 8 from 24 to 256"},
	} {
		t.Run(c.name, c.check)
	}
}

// TestOtherBarrier: the end of a phase publishes the loads of that phase and no others, also to a warp that reads late.
func TestOtherBarrier(t *testing.T) {
	body := strings.ReplaceAll(oneBar, "@%p7 fence", "@%p7 mbarrier.init.shared::cta.b64 [%r2+2056], 1; @%p7 fence") + loadBox +
		strings.NewReplacer("+2048", "+2056", "[%r2]", "[%r2+1024]").Replace(loadBox) +
		"setp.gt.u32 %p2, %r1, 31; @%p2 bra $s;" + waitBox + "bra $r; $s: mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r2+2056], 0; @!%p1 bra $s; $r: ld.shared.u32 %r0, [%r2];"
	found := map[string]bool{}
	for seed := range uint64(40) {
		_, _, err := runHopper(t, Options{Seed: seed}, hopperKernel("", body), 64)
		require.Error(t, err)
		for _, text := range []string{"is still in flight: wait for its mbarrier", "written by the tensor load at PTX line 11, whose mbarrier this warp has not waited for"} {
			found[text] = found[text] || strings.Contains(err.Error(), text)
		}
	}
	require.Len(t, found, 2)
	for text, ok := range found {
		require.True(t, ok, text)
	}
}

// TestElect: a warp elects one lane for all, and not the same one in every launch, which no kernel may count on.
func TestElect(t *testing.T) {
	leaders := map[uint32]bool{}
	for seed := range uint64(8) {
		out, _, err := runHopper(t, Options{Seed: seed}, hopperKernel("", "elect.sync %r6|%p1, -1; elect.sync %r7|%p2, -1; selp.u32 %r8, %r4, 0, %p2; redux.sync.add.u32 %r8, %r8, -1; mad.lo.u32 %r0, %r6, 10000, %r8; mad.lo.u32 %r0, %r7, 100, %r0;"), 32)
		require.NoError(t, err)
		for _, v := range out {
			require.Equal(t, out[0]%100*10101, v, "the lane is named to all, and the same both times")
		}
		leaders[out[0]%100] = true
	}
	require.Greater(t, len(leaders), 1)
}

// TestLaunchRegisters: a block starts with an equal part of the multiprocessor's registers.
func TestLaunchRegisters(t *testing.T) {
	for _, c := range []struct{ threads, blocks, most, want int }{
		{384, 1, 0, 168}, {512, 1, 0, 128}, {256, 1, 0, 256}, {256, 2, 0, 128}, {128, 1, 0, 256}, {384, 0, 0, 0}, {0, 0, 168, 168}, {384, 1, 100, 96},
	} {
		e := entry{maxThreads: c.threads, minBlocks: c.blocks, maxRegs: c.most}
		require.Equal(t, c.want, e.launchRegs(), "%+v", c)
	}
}

// TestStmatrix: what stmatrix stores, ldmatrix loads, and a transposed store differs from a plain one as it should.
func TestStmatrix(t *testing.T) {
	for _, n := range []int{1, 2, 4} {
		for _, trans := range []string{"", ".trans"} {
			var back strings.Builder
			for j := range n {
				fmt.Fprintf(&back, "xor.b32 %%r%d, %%r%d, %%r%d; or.b32 %%r0, %%r0, %%r%d;", 20+j, 20+j, 10+j, 20+j)
			}
			body := fmt.Sprintf(`mul.lo.u32 %%r10, %%r1, 0x10021; add.u32 %%r11, %%r10, 77; xor.b32 %%r12, %%r10, 0x7070; mul.lo.u32 %%r13, %%r10, 3;
	mad.lo.u32 %%r6, %%r4, 16, %%r2;
	stmatrix.sync.aligned.m8n8.x%[1]d%[2]s.shared.b16 [%%r6], %[3]s;
	ldmatrix.sync.aligned.m8n8.x%[1]d%[2]s.shared.b16 %[4]s, [%%r6];
	%[5]s`, n, trans, names("%r", 10, n), names("%r", 20, n), back.String())
			out, _, err := runHopper(t, Options{}, hopperKernel("", body), 32)
			require.NoError(t, err)
			for _, v := range out {
				require.Zero(t, v, "x%d%s", n, trans)
			}
		}
	}
	// element (row, column) of a matrix is in lane 4*row+column/2: without .trans it lies at 16*row+2*column, with it at 16*column+2*row
	for trans, at := range map[string]string{"": "16*0+2*5", ".trans": "16*5+2*0"} {
		off := map[string]int{"16*0+2*5": 10, "16*5+2*0": 80}[at]
		body := fmt.Sprintf("shl.b32 %%r10, %%r1, 20; or.b32 %%r10, %%r10, %%r1; mad.lo.u32 %%r6, %%r4, 16, %%r2; stmatrix.sync.aligned.m8n8.x1%s.shared.b16 [%%r6], {%%r10}; bar.sync 0; ld.shared.u16 %%r0, [%%r2+%d];", trans, off)
		out, _, err := runHopper(t, Options{}, hopperKernel("", body), 32)
		require.NoError(t, err)
		require.EqualValues(t, 2<<4, out[0], "the high half of lane 2 is element (0, 5)")
	}
}

// TestTargets: each target's instructions and shared memory are its own.
func TestTargets(t *testing.T) {
	for _, text := range []string{"elect.sync %r0|%p1, -1;", "setmaxnreg.dec.sync.aligned.u32 64;", "fence.proxy.async;", "mbarrier.try_wait.parity.shared.b64 %p1, [%r2], 0;",
		"mbarrier.arrive.expect_tx.shared.b64 _, [%r2], 0;", "fence.mbarrier_init.release.cluster;", "prefetch.tensormap [%rd1];", "stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r2], {%r1};"} {
		_, err := newRig(t, Options{}).dev.LoadModule([]byte(warpKernel(text)))
		require.ErrorContains(t, err, "needs .target sm_90a, found sm_80", text)
	}
	for target, want := range map[string]string{"sm_80": "the device has 166912 for a block", "sm_90a": "the device has 232448 for a block"} {
		err := newRig(t, Options{}).launch(strings.Replace(hopperKernel("", ""), "sm_90a", target, 1), 1, 32, 1<<18, make([]byte, 128), device.Ptr(0))
		require.ErrorContains(t, err, want)
	}
}

// TestModels: an emulated GPU has the shared memory of its model, whatever the code's target would have, and takes the code that its model
// takes.
func TestModels(t *testing.T) {
	for model, shared := range map[string]int{"sm_80": 166912, "sm_86": 101376, "sm_87": 166912, "sm_89": 101376, "sm_90": 232448, "sm_100": 232448, "sm_120": 101376} {
		d, err := Driver{}.OpenModel(model)
		require.NoError(t, err, model)
		i := d.Info()
		require.Equal(t, model, fmt.Sprintf("sm_%d%d", i.Major, i.Minor))
		require.Equal(t, shared, i.MaxSharedBytes, model)
		r := newRig(t, Options{Capability: 10*i.Major + i.Minor})
		err = r.launch(strings.Replace(hopperKernel("", ""), "sm_90a", "sm_80", 1), 1, 32, 1<<18, make([]byte, 128), device.Ptr(0))
		require.ErrorContains(t, err, fmt.Sprintf("the device has %d for a block", min(shared, 166912)), model)
		_, err = d.LoadModule([]byte(hopperKernel("", "")))
		if model == "sm_90" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, "found PTX for sm_90a, the device is "+model)
	}
	_, err := Driver{}.OpenModel("sm_75")
	require.ErrorIs(t, err, device.ErrNoDevice)
	require.ErrorContains(t, err, "the emulator cannot be like sm_75, want one of sm_80, sm_86, sm_87, sm_89, sm_90")
	_, err = Open(Options{Capability: 85})
	require.ErrorContains(t, err, "found the compute capability 85, wanted that of one of sm_80, sm_86")
}
