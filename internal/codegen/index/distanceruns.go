package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// The parameters of run_sums and run_distances, whose runs are runs of neighbouring distances (ir/indexruns.go), not tiles:
//
//	diag_sum    f32 [H, stride]: what each distance is worth; what lies at n and beyond may be anything but unwritten
//	run_sum     f32 [H, run_stride]: what each run is worth, 0 behind the last one
//	run_bits    u32 [H, run_stride/32]: the chosen runs
//	bits        u32 [H, stride/32]: their distances; every word of a head that takes part is written
//	run         distances of a run, a multiple of 16 from 16 to 128
//	n           distances that there are; the last run has those below n
//	stride, run_stride   from head to head, multiples of 64; stride has room for whole runs
//	hq          heads of a batch entry in the launch, for lengths in device memory
//
// Launch: run_sums grid (run_stride/abi.RunsPerBlock, H), run_distances grid (stride/32/abi.RunWords, H), rounded up.

const (
	runThreads  = 256
	runsPerWarp = abi.RunsPerBlock / (runThreads / 32) // whose loads are in flight together
)

// distanceRuns is the state of one lowering.
type distanceRuns struct {
	*blockKernel
	size, n Value
}

func newDistanceRuns(entry string, lengths bool) *distanceRuns {
	r := &distanceRuns{blockKernel: newBlockKernel(entryOf(entry, lengths), runThreads)}
	r.LeaveUnless(r.TakesPart(r.BlockY()), nil)
	r.size, r.n = r.Param("run"), r.number()
	return r
}

// number is how many distances there are.
func (r *distanceRuns) number() Value {
	if !r.ReadsLengths() {
		return r.Param("n")
	}
	r.Entry = func() Value { return r.UDiv(r.BlockY(), r.Param("hq")) }
	return r.Add(r.Length("q_offset"), r.Length("sq"))
}

// headRow is the row of the block's head, of so many 32-bit words.
func (r *distanceRuns) headRow(name string, words Value) Value {
	return r.Offset(r.Param(name), r.Shl(r.Mul(r.ZExt64(r.BlockY()), r.ZExt64(words)), 2))
}

// RunSums adds up the values of each run. A warp takes a run: lane l has its distances 4l..4l+3, and the lanes add up as a tree. So the order
// is the same for all runs, and runs of equal values have equal sums.
func RunSums(lengths bool) (*lower.Kernel, error) {
	r := newDistanceRuns(abi.RunSums, lengths)
	values, out := r.headRow("diag_sum", r.Param("stride")), r.headRow("run_sum", r.Param("run_stride"))
	first := r.Add(r.Mul(r.BlockX(), lower.I32(abi.RunsPerBlock)), r.Mul(r.warp, lower.I32(runsPerWarp)))
	at := r.Shl(r.lane, 2)
	sums := make([]Value, runsPerWarp)
	for i := range sums {
		from := r.Mul(r.Add(first, lower.I32(int64(i))), r.size)
		sums[i] = r.fourOf(values, from, at)
	}
	for i := range sums {
		for mask := int64(1); mask < 32; mask *= 2 {
			sums[i] = r.FAdd(sums[i], r.ShuffleXor(sums[i], mask))
		}
	}
	mine := sums[0]
	for i := 1; i < runsPerWarp; i++ {
		mine = r.Select(r.ICmp(enum.IPredEQ, r.lane, lower.I32(int64(i))), sums[i], mine)
	}
	run := r.Add(first, r.lane)
	writes := r.And(r.ICmp(enum.IPredULT, r.lane, lower.I32(runsPerWarp)), r.ICmp(enum.IPredSLT, run, r.Param("run_stride")))
	r.If("store", writes, func() { r.Store(mine, r.at(out, run), 4) })
	r.Block.NewRet(nil)
	return r.finish(0), nil
}

// fourOf is the sum of the distances at..at+3 of the run from distance from on, of those that there are.
func (r *distanceRuns) fourOf(values, from, at Value) Value {
	d := r.Add(from, at)
	there := r.And(r.ICmp(enum.IPredSLT, at, r.size), r.ICmp(enum.IPredSLT, d, r.n))
	return r.Choose("run", there, lower.F32(0), func() Value {
		v := r.Load(lower.Vec4, r.at(values, d), 16)
		var terms [4]Value
		for e := range terms {
			in := r.ICmp(enum.IPredSLT, r.Add(d, lower.I32(int64(e))), r.n)
			terms[e] = r.Select(in, r.AsFloat(r.Lane4(v, e)), lower.F32(0))
		}
		return r.FAdd(r.FAdd(terms[0], terms[1]), r.FAdd(terms[2], terms[3]))
	})
}

// RunDistances writes the bitmap of distances, a word a thread. Runs begin at multiples of 16, so that half a word has one run.
func RunDistances(lengths bool) (*lower.Kernel, error) {
	r := newDistanceRuns(abi.RunDistances, lengths)
	words := r.LShr(r.Param("stride"), 5)
	word := r.Add(r.Mul(r.BlockX(), lower.I32(abi.RunWords)), r.tid)
	r.If("word", r.ICmp(enum.IPredSLT, word, words), func() {
		first := r.Shl(word, 5)
		low, high := r.half(first), r.half(r.Add(first, lower.I32(ir.RunUnit)))
		both := r.Or(low, r.Shl(high, ir.RunUnit))
		left := r.Max(r.Sub(r.n, first), lower.I32(0))
		there := r.Not(r.ShlClamp(lower.I32(-1), left))
		r.Store(r.And(both, there), r.at(r.headRow("bits", words), word), 4)
	})
	r.Block.NewRet(nil)
	return r.finish(0), nil
}

// half is 16 ones if the run of a distance was chosen, else 0. Runs beyond the last distance are none.
func (r *distanceRuns) half(distance Value) Value {
	return r.Choose("half", r.ICmp(enum.IPredSLT, distance, r.n), lower.I32(0), func() Value {
		run := r.UDiv(distance, r.size)
		chosen := r.headRow("run_bits", r.LShr(r.Param("run_stride"), 5))
		word := r.Load(types.I32, r.at(chosen, r.LShr(run, 5)), 4)
		bit := r.And(r.FunnelRight(word, word, run), lower.I32(1))
		return r.Select(r.ICmp(enum.IPredNE, bit, lower.I32(0)), lower.I32(1<<ir.RunUnit-1), lower.I32(0))
	})
}
