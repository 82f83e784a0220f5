package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// The parameters of runs. Launch: grid (H). A head with more tiles than run_cap loses the farthest.
//
//	dist_bits  u32 [H, words]: the chosen distances
//	runs       i32 [H, run_cap]: the tiles, nearest first, as minus the L of ir/index.go
//	run_count  i32 [H], 0 for heads that take no part
//	covered    u32 [H, cover_words]: bit L..L+63 of every tile; every word is written

// The tiles of a head are a chain: each follows from the one before. A state is the distance E = L+1 behind the last tile.
// Every warp walks its own part of the distances from a guess of the state in which the chain enters it, which is at first
// that all was far away. Then it takes the state in which the warp before left, and walks again if that is another one,
// until nobody has to. Chains that entered differently soon meet: at the first gap of 128, or earlier. So two or three
// rounds do, and a last walk writes. In the worst case the parts follow one another.
const (
	runsThreads = 1024
	runsOut     = 0             // state at the end of each warp's part
	runsAgain   = runsOut + 128 // whether the warp walked in this round
	runsScan    = runsAgain + 128
	runsShared  = runsScan + 128

	tileLog  = 6  // ir.BlockSize
	spanUnit = 64 // words: a step looks at 32 tiles, so shorter parts would only mean more rounds
)

// runsKernel is the state of one lowering.
type runsKernel struct {
	*blockKernel
	bits, tiles, covered Value // of this head
	from, end            Value // words of this warp
}

// Runs covers the chosen distances of each head by the rule in ir/index.go.
func Runs() (*lower.Kernel, error) {
	r := &runsKernel{blockKernel: newBlockKernel(abi.Runs, runsThreads)}
	r.emit()
	return r.finish(runsShared), nil
}

func (r *runsKernel) emit() {
	r.leaveEmpty("run_count")
	words := r.Param("words")
	r.bits, r.tiles = r.row("dist_bits", words), r.row("runs", r.Param("run_cap"))
	r.covered = r.row("covered", r.Param("cover_words"))
	r.from, r.end = r.span(words, spanUnit)
	r.fill(r.covered, lower.I32(0), r.Param("cover_words"), lower.I32(0))
	enter, count := r.agree()
	before, total := r.scanUniform(count, runsScan)
	r.walk("write", enter, before, func(i, last Value) { r.put(i, last) })
	r.If("total", r.ICmp(enum.IPredEQ, r.tid, lower.I32(0)), func() {
		r.Store(r.Min(total, r.Param("run_cap")), r.at(r.Param("run_count"), r.BlockX()), 4)
	})
	r.Block.NewRet(nil)
}

// far is the state in front of distance d in which every tile is far away: the nearest of them all.
func (r *runsKernel) far(word Value) Value { return r.Sub(r.Shl(word, 5), lower.I32(1<<tileLog)) }

// agree walks until every warp entered its part as the warp before left its own: the state, and the tiles of the part.
func (r *runsKernel) agree() (enter, count Value) {
	start := r.far(r.from)
	before := r.SharedAt(r.word(r.Max(r.Sub(r.warp, lower.I32(1)), lower.I32(0))), runsOut)
	first := r.ICmp(enum.IPredEQ, r.warp, lower.I32(0))
	out := lower.Repeat(r.Builder, "round", partWalk{start, lower.I32(0), lower.I32(1)}, func(w partWalk) (partWalk, Value) {
		again := r.ICmp(enum.IPredNE, w.changed, lower.I32(0))
		count := r.Choose("walk_again", again, w.count, func() Value {
			left, count := r.walk("count", w.enter, lower.I32(0), nil)
			r.leaderStores(left, runsOut)
			return count
		})
		r.Barrier()
		enter := r.Max(r.Load(types.I32, before, 4), start)
		enter = r.Select(first, start, enter)
		changed := r.Block.NewZExt(r.ICmp(enum.IPredNE, enter, w.enter), types.I32)
		r.leaderStores(changed, runsAgain)
		r.Barrier()
		somebody := r.Ballot(r.ICmp(enum.IPredNE, r.Load(types.I32, r.SharedAt(r.word(r.lane), runsAgain), 4), lower.I32(0)))
		return partWalk{enter, count, changed}, r.ICmp(enum.IPredNE, somebody, lower.I32(0))
	})
	return out.enter, out.count
}

// partWalk is a warp's walk of its part: the state in which it entered, the tiles that it met, and whether that state is another one now.
type partWalk struct{ enter, count, changed Value }

func (w *partWalk) Values() []*Value { return []*Value{&w.enter, &w.count, &w.changed} }

// chainStep is where a walk looks next, its state, and the number of the next tile.
type chainStep struct{ search, state, index Value }

func (s *chainStep) Values() []*Value { return []*Value{&s.search, &s.state, &s.index} }

// walk covers this warp's part from state enter on; its tiles are numbered from index on. It returns the state behind it
// and the next number. Lane j looks at the window of 64 distances at+64j.. of which each that is not empty, up to the first
// empty one, is a tile of the run; the next distance behind that begins a new run. Where there is none, the walk goes on
// from the last window, which is empty: every distance behind it is far from all tiles.
func (r *runsKernel) walk(name string, enter, index Value, put func(i, last Value)) (left, next Value) {
	end := r.Shl(r.end, 5)
	out := lower.While(r.Builder, name, chainStep{enter, enter, index}, func(s chainStep) Value {
		return r.ICmp(enum.IPredSLT, s.search, end)
	}, func(s chainStep) chainStep {
		at := r.Add(s.search, r.Shl(r.lane, tileLog))
		low, high := r.window(at)
		full := r.Ballot(r.ICmp(enum.IPredNE, r.Or(low, high), lower.I32(0)))
		run := r.LowBit(r.Not(full))
		if put != nil {
			r.If("run", r.ICmp(enum.IPredULT, r.lane, run), func() {
				put(r.Add(s.index, r.lane), r.Add(at, lower.I32(1<<tileLog-1)))
			})
		}
		behind := r.Add(s.search, r.Shl(run, tileLog))
		state := r.Select(r.ICmp(enum.IPredEQ, run, lower.I32(0)), s.state, behind)
		whole := r.ICmp(enum.IPredEQ, full, lower.I32(-1))
		search := r.Select(whole, behind, r.Add(s.search, lower.I32(31<<tileLog)))
		return r.newRun(full, run, at, low, high, chainStep{search, state, r.Add(s.index, run)}, put)
	})
	return out.state, out.index
}

// newRun begins a run at the first distance behind the last one, if this step sees it.
func (r *runsKernel) newRun(full, run, at, low, high Value, otherwise chainStep, put func(i, last Value)) chainStep {
	rest := r.And(full, r.Not(r.Sub(r.ShlClamp(lower.I32(1), run), lower.I32(1))))
	return lower.Choose(r.Builder, "new", r.ICmp(enum.IPredNE, rest, lower.I32(0)), otherwise, func() chainStep {
		inLow := r.ICmp(enum.IPredNE, low, lower.I32(0))
		bit := r.Select(inLow, r.LowBit(low), r.Add(r.LowBit(high), lower.I32(32)))
		last := r.ShuffleFrom(r.Add(at, bit), r.LowBit(rest))
		index := otherwise.index
		if put != nil {
			r.If("begin", r.ICmp(enum.IPredEQ, r.lane, lower.I32(0)), func() {
				put(index, last)
			})
		}
		behind := r.Add(last, lower.I32(1))
		return chainStep{behind, behind, r.Add(index, lower.I32(1))}
	})
}

// window is the 64 distances from at on, as far as they lie in this warp's part.
func (r *runsKernel) window(at Value) (low, high Value) {
	first := r.AShr(at, 5)
	var w [3]Value
	for i := range w {
		k := r.Add(first, lower.I32(int64(i)))
		in := r.ICmp(enum.IPredULT, r.Sub(k, r.from), r.Sub(r.end, r.from))
		safe := r.Select(in, k, lower.I32(0))
		w[i] = r.Select(in, r.Load(types.I32, r.at(r.bits, safe), 4), lower.I32(0))
	}
	return r.FunnelRight(w[1], w[0], at), r.FunnelRight(w[2], w[1], at)
}

// put writes tile i, whose farthest distance is last, and its covered bits.
func (r *runsKernel) put(i, last Value) {
	r.If("tile", r.ICmp(enum.IPredSLT, i, r.Param("run_cap")), func() {
		r.Store(r.Sub(lower.I32(0), last), r.at(r.tiles, i), 4)
		word := r.at(r.covered, r.LShr(last, 5))
		ones := lower.I32(-1)
		r.GlobalOr(word, r.ShlClamp(ones, r.And(last, lower.I32(31))))
		r.GlobalOr(r.Offset(word, lower.I64(4)), ones)
		rest := r.Not(r.ShlClamp(ones, r.And(last, lower.I32(31))))
		r.If("third", r.ICmp(enum.IPredNE, rest, lower.I32(0)), func() {
			r.GlobalOr(r.Offset(word, lower.I64(8)), rest)
		})
	})
}
