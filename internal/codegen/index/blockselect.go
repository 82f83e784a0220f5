package index

import (
	"fmt"
	"math"
	"slices"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// The parameters of the kernel of each rule; scores, slab_start and slab are the same parameters as in block_scores.
//
//	block_n      i32 [q heads]: how many blocks a row block gets; or which share of the sum of its values in thousandths, at
//	             most 1000; or the bits of the smallest float that is chosen, at least 1; or the bits of a float up to 1, the share of the
//	             largest value from which on blocks are chosen
//	block_most   i32 [q heads]: how many at most, for the rules without a number
//	block_least  i32 [q heads]: how many at least, up to most, for the same rules; null: none
//	first, last  how many of a row block's first and last candidates are chosen whatever their score; the very last is the
//	             block of its last query, or the last key block
//	blocks       i32 [H, row blocks, block_cap], descending, -1 after the last
//	block_count  i32 [H, row blocks], 0 for heads that take no part
//
// The number of a row block is clamped to [forced ones, its candidates] and to block_cap. Rules without a number want
// values that are not negative, for a share such as sum to 1 at most: of block_shares.
//
// Launch: grid (row blocks of the slab, H), whole warps that hold the scores of all key blocks, selectKeys a thread.
// A row's scores stay in registers, selectKeys a thread, so that the passes of the search cost two instructions a score.
// Score i of thread t is block i*threads+t: loads are coalesced, and a warp's vote on its scores number i is one word of
// the row's bitmap. There are as many words as threads.
const (
	selectKeys       = abi.SelectKeys
	selectGroup      = 8 // scores that are skipped together where the row is short
	selectMaxThreads = abi.MaxKeyBlocks / selectKeys
)

// Shared memory: four arrays of a word a warp for sums over the block, then two bitmaps of a row.
const (
	sumsBytes       = 4 * 32
	sumsChosen      = 2 * sumsBytes // the search alternates between the first two
	sumsTies        = 3 * sumsBytes
	bitmapAt        = 4 * sumsBytes
	bitmapWordBytes = 8                                           // a word of either bitmap, a thread
	blockMassSums   = bitmapAt + bitmapWordBytes*selectMaxThreads // two arrays more, of masses
)

// selectKernel is the state of one lowering.
type selectKernel struct {
	*lower.Builder
	shared, tid, lane, warp lower.Value
	threads, warps          lower.Value
	t                       lower.Value // row block
	candidates, n           lower.Value // blocks to choose from; how many to choose
	first, tail             lower.Value // blocks below first and from tail on are forced
	keys                    []lower.Value
}

// BlockSelect chooses the best key blocks of each row block by a rule. Ties go to the smaller block, and a NaN counts as -inf.
// The search is for the last score that is chosen, bit by bit from the top, and ends when a threshold splits the
// scores as wanted.
func BlockSelect(rule ir.Rule, lengths bool) (*lower.Kernel, error) {
	if int(rule) >= len(abi.BlockSelectKernels) {
		return nil, fmt.Errorf("internal: unknown rule %d", rule)
	}
	entry, shared := entryOf(abi.BlockSelectKernels[rule], lengths), blockMassSums
	params := abi.IndexParams[entry]
	if rule == ir.TopP || rule == ir.NearMax {
		shared += 2 * sumsBytes
	}
	k := &selectKernel{Builder: lower.NewKernel(entry, params, selectMaxThreads, 1)}
	k.emit(rule)
	return &lower.Kernel{Module: k.Module, Entry: entry, Threads: selectMaxThreads, SharedBytes: shared, Params: params}, nil
}

func (k *selectKernel) emit(rule ir.Rule) {
	number := "block_most"
	if rule == ir.Top {
		number = "block_n"
	}
	k.locate(number)
	k.loadKeys()
	var threshold, exact lower.Value
	switch rule {
	case ir.TopP:
		threshold, exact = k.searchMass()
	case ir.Above:
		threshold, exact = k.searchFrom(k.ofHead("block_n"))
	case ir.NearMax:
		threshold, exact = k.searchFrom(nearKey(k.Builder, k.largest(), k.ofHead("block_n")))
	default:
		threshold, exact = k.search()
	}
	k.write(k.chosen(threshold, exact))
	k.Block.NewRet(nil)
}

// searchFrom finds the scores from the bits of a float on; if these are too many the largest of them, and if they are too few the largest
// scores. It sets n to their number.
func (k *selectKernel) searchFrom(bits lower.Value) (threshold, exact lower.Value) {
	n := k.blockAdd(k.countFrom(k.Or(bits, lower.I32(math.MinInt32))), lower.I32(sumsTies))
	k.n = k.Min(k.n, k.Max(n, k.least()))
	return k.search()
}

// least is how many blocks are chosen at least; there may be fewer.
func (k *selectKernel) least() lower.Value {
	given := k.ICmp(enum.IPredNE, k.Address(k.Param("block_least")), lower.I64(0))
	return k.Choose("least", given, lower.I32(0), func() lower.Value { return k.ofHead("block_least") })
}

// largest is the bits of the largest score of the row, at least 0; the scores of forced blocks count, though their keys no longer tell.
func (k *selectKernel) largest() lower.Value {
	all := groups(k, "largest", lower.One{Value: lower.I32(0)}, func(g int, most lower.One) lower.One {
		for _, key := range k.keys[g*selectGroup : (g+1)*selectGroup] {
			free := k.ICmp(enum.IPredNE, key, forcedBlock)
			// Keys of scores below 0, and of none, have no top bit.
			bits := k.Select(free, k.Xor(key, lower.I32(math.MinInt32)), lower.I32(0))
			most.Value = k.Max(most.Value, bits)
		}
		return most
	}).Value
	all = k.eachForced(all, func(most, score lower.Value) lower.Value {
		return k.Max(most, k.AsInt(k.FMax(score, lower.F32(0))))
	})
	k.putSum(k.WarpMax(all), lower.I32(blockMassSums))
	k.Barrier()
	return k.WarpMax(k.sumOf(k.warps, lower.I32(blockMassSums)))
}

func (k *selectKernel) locate(number string) {
	k.shared = k.SharedBase()
	k.tid, k.threads = k.ThreadX(), k.BlockThreads()
	k.lane, k.warp, k.warps = k.And(k.tid, lower.I32(31)), k.LShr(k.tid, 5), k.LShr(k.threads, 5)
	k.t = k.Add(k.Param("slab_start"), k.BlockX())
	k.LeaveUnless(k.TakesPart(k.BlockY()), func() { k.writeCount(lower.I32(0)) })
	k.Entry = func() lower.Value { return k.UDiv(k.BlockY(), k.Param("hq")) }
	leaveAbsent(k.Builder, k.t, func() { k.writeCount(lower.I32(0)) })
	k.candidates = candidates(k.Builder, k.t, blocksOf(k.Builder, k.Length("sk")))
	n := k.ofHead(number)
	last := k.Min(k.Param("last"), k.Param("block_cap"))
	k.first = k.Min(k.Param("first"), k.Sub(k.Param("block_cap"), last))
	k.tail = k.Sub(k.candidates, last)
	k.n = k.Min(k.Min(k.Max(n, k.Add(k.first, last)), k.candidates), k.Param("block_cap"))
}

// ofHead is this head's entry of a parameter.
func (k *selectKernel) ofHead(name string) lower.Value {
	h := k.BlockY()
	head := k.Sub(h, k.Mul(k.UDiv(h, k.Param("hq")), k.Param("hq")))
	return k.Load(types.I32, k.Offset(k.Param(name), k.Shl(k.ZExt64(head), 2)), 4)
}

// index is the block of the thread's score i.
func (k *selectKernel) index(i int) lower.Value {
	return k.Add(k.Mul(k.threads, lower.I32(int64(i))), k.tid)
}

// groups runs body for each group of scores that has candidates, in order; it takes state on.
func groups[T any, P lower.State[T]](k *selectKernel, name string, state T, body func(group int, state T) T) T {
	var from func(g int, state T) T
	from = func(g int, state T) T {
		if g == selectKeys/selectGroup {
			return state
		}
		some := k.ICmp(enum.IPredSGT, k.candidates, k.Mul(k.threads, lower.I32(int64(g*selectGroup))))
		return lower.Choose[T, P](k.Builder, name, some, state, func() T { return from(g+1, body(g, state)) })
	}
	return from(0, state)
}

// scores is the first score of the row.
func (k *selectKernel) scores() lower.Value {
	pad := padTo64(k.Builder, blocksOf(k.Builder, k.Param("sk")))
	row := k.Add(k.Mul(k.ZExt64(k.BlockY()), k.ZExt64(k.Param("slab"))), k.ZExt64(k.BlockX()))
	return k.Offset(k.Param("scores"), k.Shl(k.Mul(row, k.ZExt64(pad)), 2))
}

// loadKeys loads the row's scores as unsigned numbers of the same order. What is no candidate becomes 0, less than
// every score; a forced block becomes the greatest number.
func (k *selectKernel) loadKeys() {
	base := k.scores()
	last := k.Sub(k.candidates, lower.I32(1))
	zeros := lower.Vectors{slices.Repeat([]Value{lower.I32(0)}, selectKeys)}
	k.keys = groups(k, "load", zeros, func(g int, keys lower.Vectors) lower.Vectors {
		keys = keys.Clone()
		for i := g * selectGroup; i < (g+1)*selectGroup; i++ {
			at := k.index(i)
			keys[0][i] = k.loadKey(base, at, last)
		}
		return keys
	})[0]
}

func (k *selectKernel) loadKey(base, at, last lower.Value) lower.Value {
	x := k.Load(types.Float, k.Offset(base, k.Shl(k.ZExt64(k.UMin(at, last)), 2)), 4)
	x = k.FAdd(k.FMax(x, lower.NegInf()), lower.F32(0)) // no NaN, no negative zero
	bits := k.AsInt(x)
	key := k.Xor(bits, k.Or(k.AShr(bits, 31), lower.I32(math.MinInt32)))
	forced := k.Or(k.ICmp(enum.IPredSLT, at, k.first), k.ICmp(enum.IPredSGE, at, k.tail))
	key = k.Select(forced, lower.I32(-1), key)
	return k.Select(k.ICmp(enum.IPredSGT, at, last), lower.I32(0), key)
}

// search returns the largest threshold that at least n keys reach, and 1 if exactly n do. When the search ends early the
// threshold is smaller, but parts the same keys.
func (k *selectKernel) search() (threshold, exact lower.Value) {
	all := searchEnd{lower.I32(1), lower.I32(1)} // a key of 1 or more is a candidate
	out := lower.Choose(k.Builder, "some", k.ICmp(enum.IPredSLT, k.n, k.candidates), all, func() searchEnd {
		start := searchStep{lower.I32(math.MinInt32), searchEnd{lower.I32(0), lower.I32(0)}}
		return lower.Repeat(k.Builder, "search", start, func(s searchStep) (searchStep, Value) {
			try := k.Or(s.threshold, s.bit)
			c := k.blockAdd(k.countFrom(try), k.parity(s.bit))
			s.threshold = k.Select(k.ICmp(enum.IPredSGE, c, k.n), try, s.threshold)
			equal := k.ICmp(enum.IPredEQ, c, k.n)
			s.bit = k.LShr(s.bit, 1)
			again := k.And(k.ICmp(enum.IPredNE, s.bit, lower.I32(0)), k.ICmp(enum.IPredNE, c, k.n))
			s.exact = k.Block.NewZExt(equal, types.I32)
			return s, again
		}).searchEnd
	})
	return out.threshold, out.exact
}

// searchEnd is a threshold, and 1 if exactly as many keys reach it as are wanted.
type searchEnd struct{ threshold, exact Value }

func (s *searchEnd) Values() []*Value { return []*Value{&s.threshold, &s.exact} }

// searchStep is what the search carries: the bit of the threshold that it tries.
type searchStep struct {
	bit Value
	searchEnd
}

func (s *searchStep) Values() []*Value { return append([]*Value{&s.bit}, s.searchEnd.Values()...) }

// parity is 0 or sumsBytes, in turn with the bits: a warp may write a step's sum while another still reads the last one's.
func (k *selectKernel) parity(bit lower.Value) lower.Value {
	odd := k.ICmp(enum.IPredNE, k.And(bit, lower.I32(0x55555555)), lower.I32(0))
	return k.Select(odd, lower.I32(sumsBytes), lower.I32(0))
}

// countFrom is how many of the thread's keys are at least x.
func (k *selectKernel) countFrom(x lower.Value) lower.Value {
	return groups(k, "count", lower.One{Value: lower.I32(0)}, func(g int, n lower.One) lower.One {
		for _, key := range k.keys[g*selectGroup : (g+1)*selectGroup] {
			reached := k.ICmp(enum.IPredUGE, key, x)
			n.Value = k.Select(reached, k.Add(n.Value, lower.I32(1)), n.Value)
		}
		return n
	}).Value
}

// blockAdd is the sum of x over the block, through the sums at an offset of shared memory.
func (k *selectKernel) blockAdd(x, sums lower.Value) lower.Value {
	k.putSum(k.WarpAdd(x), sums)
	k.Barrier()
	return k.sumBelow(k.warps, sums)
}

// putSum stores a warp's sum.
func (k *selectKernel) putSum(x, sums lower.Value) {
	k.If("sum", k.ICmp(enum.IPredEQ, k.lane, lower.I32(0)), func() {
		k.Store(x, k.SharedAt(k.Add(k.Add(k.shared, sums), k.Shl(k.warp, 2)), 0), 4)
	})
}

// sumBelow adds the sums of the warps below limit.
func (k *selectKernel) sumBelow(limit, sums lower.Value) lower.Value {
	return k.WarpAdd(k.sumOf(limit, sums))
}

// sumOf is the number that the warp of this lane's number stored, 0 from the warp limit on.
func (k *selectKernel) sumOf(limit, sums lower.Value) lower.Value {
	below := k.ICmp(enum.IPredULT, k.lane, limit)
	return k.Choose("below", below, lower.I32(0), func() lower.Value {
		return k.Load(types.I32, k.SharedAt(k.Add(k.Add(k.shared, sums), k.Shl(k.lane, 2)), 0), 4)
	})
}

// scan is the sum of x over this thread and all before it.
func (k *selectKernel) scan(x lower.Value, sums int64) lower.Value {
	in := k.WarpScan(x, k.lane)
	k.putSum(k.WarpAdd(x), lower.I32(sums))
	k.Barrier()
	return k.Add(in, k.sumBelow(k.warp, lower.I32(sums)))
}

// chosen returns the thread's word of the bitmap of chosen blocks: keys from the threshold on if it is exact; else the keys
// above it, and of the keys equal to it the first, as many as are missing.
func (k *selectKernel) chosen(threshold, exact lower.Value) lower.Value {
	isExact := k.ICmp(enum.IPredEQ, exact, lower.I32(1))
	cut := k.Select(isExact, threshold, k.Add(threshold, lower.I32(1)))
	k.bitmap("above", 0, func(key lower.Value) lower.Value { return k.ICmp(enum.IPredUGE, key, cut) })
	k.If("ties", k.Block.NewXor(isExact, lower.Bool(true)), func() {
		k.bitmap("equal", 1, func(key lower.Value) lower.Value { return k.ICmp(enum.IPredEQ, key, threshold) })
	})
	k.Barrier()
	word := k.word(0)
	return k.Choose("fill", k.Block.NewXor(isExact, lower.Bool(true)), word, func() lower.Value {
		return k.Or(word, k.firstTies(word))
	})
}

// bitmap votes on all keys: lane i of a warp keeps the warp's vote on its keys number i and stores it.
func (k *selectKernel) bitmap(name string, which int64, holds func(key lower.Value) lower.Value) {
	word := groups(k, name, lower.One{Value: lower.I32(0)}, func(g int, mine lower.One) lower.One {
		for i := g * selectGroup; i < (g+1)*selectGroup; i++ {
			vote := k.Ballot(holds(k.keys[i]))
			mine.Value = k.Select(k.ICmp(enum.IPredEQ, k.lane, lower.I32(int64(i))), vote, mine.Value)
		}
		return mine
	})
	at := k.Add(k.Mul(k.lane, k.warps), k.warp)
	k.Store(word.Value, k.wordAt(at, which), 4)
}

// word is the thread's word of a bitmap: blocks 32*thread and the 31 after it.
func (k *selectKernel) word(which int64) lower.Value {
	return k.Load(types.I32, k.wordAt(k.tid, which), 4)
}

func (k *selectKernel) wordAt(at lower.Value, which int64) lower.Value {
	at = k.Add(at, k.Mul(k.threads, lower.I32(which)))
	return k.SharedAt(k.Add(k.shared, k.Shl(at, 2)), bitmapAt)
}

// firstTies are the lowest bits of the thread's word of ties that are among the first that the row still needs.
func (k *selectKernel) firstTies(word lower.Value) lower.Value {
	ties := k.word(1)
	have := k.Popc(ties)
	total := k.blockAdd(k.Popc(word), lower.I32(0))
	before := k.Sub(k.scan(have, sumsTies), have)
	room := k.Sub(k.Sub(k.n, total), before)
	return lower.While(k.Builder, "tie", tieBits{ties, lower.I32(0), room}, func(t tieBits) Value {
		return k.And(k.ICmp(enum.IPredNE, t.left, lower.I32(0)), k.ICmp(enum.IPredSGT, t.room, lower.I32(0)))
	}, func(t tieBits) tieBits {
		low := k.And(t.left, k.Sub(lower.I32(0), t.left))
		return tieBits{k.Xor(t.left, low), k.Or(t.taken, low), k.Sub(t.room, lower.I32(1))}
	}).taken
}

// tieBits are bits of ties that are left and taken, and how many more may be.
type tieBits struct{ left, taken, room Value }

func (t *tieBits) Values() []*Value { return []*Value{&t.left, &t.taken, &t.room} }

// write stores the chosen blocks from the last down, the padding and the count.
func (k *selectKernel) write(word lower.Value) {
	base := k.Offset(k.Param("blocks"), k.Shl(k.Mul(k.row(), k.ZExt64(k.Param("block_cap"))), 2))
	pos := k.Sub(k.n, k.scan(k.Popc(word), sumsChosen))
	first := k.Shl(k.tid, 5)
	lower.While(k.Builder, "emit", wordBits{word, pos}, func(w wordBits) Value {
		return k.ICmp(enum.IPredNE, w.left, lower.I32(0))
	}, func(w wordBits) wordBits {
		bit := k.HighBit(w.left)
		k.Store(k.Add(first, bit), k.Offset(base, k.Shl(k.ZExt64(w.entry), 2)), 4)
		return wordBits{k.Xor(w.left, k.ShlClamp(lower.I32(1), bit)), k.Add(w.entry, lower.I32(1))}
	})
	k.While("pad", k.Add(k.n, k.tid), func(entry Value) Value {
		return k.ICmp(enum.IPredSLT, entry, k.Param("block_cap"))
	}, func(entry Value) Value {
		k.Store(lower.I32(-1), k.Offset(base, k.Shl(k.ZExt64(entry), 2)), 4)
		return k.Add(entry, k.threads)
	})
	k.writeCount(k.n)
}

// wordBits are bits of a word that are left to list, and the entry of the list for the next one.
type wordBits struct{ left, entry Value }

func (w *wordBits) Values() []*Value { return []*Value{&w.left, &w.entry} }

func (k *selectKernel) writeCount(n lower.Value) {
	k.If("count", k.ICmp(enum.IPredEQ, k.tid, lower.I32(0)), func() {
		k.Store(n, k.Offset(k.Param("block_count"), k.Shl(k.row(), 2)), 4)
	})
}

// row is the number of the row block among the row blocks of all heads.
func (k *selectKernel) row() lower.Value {
	rows := blocksOf(k.Builder, k.Param("sq"))
	return k.Add(k.Mul(k.ZExt64(k.BlockY()), k.ZExt64(rows)), k.ZExt64(k.t))
}
