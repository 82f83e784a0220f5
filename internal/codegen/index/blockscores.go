package index

import (
	"slices"

	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// The parameters of block_scores. H is batch times q heads; a slab is a range of row blocks, so that
// the workspace stays bounded.
//
//	pooled_q    float32 [H, row blocks, head dim]          pooled_k    float32 [H/group, key blocks, head dim]
//	scores      float32 [H, slab, kb_pad], kb_pad = key blocks rounded up to 64
//	slab_start  first row block of the slab                slab        row blocks of the slab
//
// Launch: grid (key blocks/scoreKeys, row blocks of the slab/scoreRows, both rounded up; H).

// A block of four warps computes 64 rows by 128 keys, each warp 32 by 64, each thread 8 by 8. Thread (ty, tx) of a warp has
// the rows ty+4i and the keys tx+8j: a warp's 16-byte reads then meet eight different bank groups, since the rows of a
// stage are 80 bytes apart, and its stores are whole sectors.
const (
	scoreRows     = abi.ScoreRows
	scoreKeys     = abi.ScoreKeys
	scoreThreads  = 128
	scoreLanesY   = 4
	scoreLanesX   = 8
	scoreMicro    = 8  // rows and keys of a thread
	scoreStep     = 16 // of the head dim in one stage
	scorePitch    = 4 * (scoreStep + 4)
	scoreStage    = (scoreRows + scoreKeys) * scorePitch
	scoreLoadRows = 4 * scoreThreads / scoreStep // rows that the block copies at once, a 16-byte chunk a thread
)

// scoresKernel is the state of one lowering.
type scoresKernel struct {
	*lower.Builder
	headDim     int
	shared, tid lower.Value
	row0, key0  lower.Value // of the block's tile: row within the slab, key block
	rows, keys  lower.Value // row blocks of q and key blocks of k, as the buffers have them
	last, end   lower.Value // the same, as there are
	ty, tx      lower.Value // the thread's first row and key within the tile
	chunk       lower.Value // the thread's 16-byte chunk of a stage's rows
	to          lower.Value // shared address of the thread's first chunk in the first stage
	q, k        scoreLoad
}

// scoreLoad is what a thread copies of one operand: a chunk of its first row, and of every scoreLoadRows-th row after it.
type scoreLoad struct {
	from lower.Value // the first step's chunk of the first row
	left lower.Value // rows from the first row to the end
}

// BlockScores is the product of pooled q and pooled k in float32, products added in order of the head dim. Entries whose
// key block begins after the row block's last query are -inf, or not written where a whole tile of them is; block_select
// reads neither.
func BlockScores(headDim int, lengths bool) (*lower.Kernel, error) {
	if err := abi.CheckHeadDim(headDim); err != nil {
		return nil, err
	}
	entry := entryOf(abi.BlockScores, lengths)
	k := &scoresKernel{Builder: lower.NewKernel(entry, abi.IndexParams[entry], scoreThreads, 3), headDim: headDim}
	k.emit()
	return &lower.Kernel{Module: k.Module, Entry: entry, Threads: scoreThreads, SharedBytes: 2 * scoreStage, Params: abi.IndexParams[entry]}, nil
}

func (k *scoresKernel) emit() {
	k.LeaveUnless(k.TakesPart(k.BlockZ()), nil)
	k.locate()
	// The tile's last row reaches furthest.
	last := k.UMin(k.Add(k.row0, lower.I32(scoreRows-1)), k.Sub(k.Param("slab"), lower.I32(1)))
	some := k.ICmp(enum.IPredSLT, k.key0, k.candidates(last))
	k.If("tile", some, func() {
		k.prepare()
		k.store(k.products())
	})
	k.Block.NewRet(nil)
}

func (k *scoresKernel) locate() {
	k.shared = k.SharedBase()
	k.tid = k.ThreadX()
	k.row0, k.key0 = k.Mul(k.BlockY(), lower.I32(scoreRows)), k.Mul(k.BlockX(), lower.I32(scoreKeys))
	k.rows, k.keys = blocksOf(k.Builder, k.Param("sq")), blocksOf(k.Builder, k.Param("sk"))
	k.Entry = func() Value { return k.UDiv(k.BlockZ(), k.Param("hq")) }
	k.last, k.end = k.rows, keyBlocksOf(k.Builder, k.keys)
	if k.ReadsLengths() {
		k.last = blocksOf(k.Builder, k.Length("sq"))
	}
}

// candidates is the number of key blocks that the slab's row sees; rows past the last row block see what that one does.
func (k *scoresKernel) candidates(row lower.Value) lower.Value {
	return candidates(k.Builder, k.Add(k.Param("slab_start"), row), k.end)
}

// candidates is the number of key blocks that begin no later than the last query of row block t.
func candidates(b *lower.Builder, t, keyBlocks lower.Value) lower.Value {
	end := b.Min(b.Shl(b.Add(t, lower.I32(1)), blockLog), b.Length("sq"))
	return b.Min(keyBlocks, blocksOf(b, b.Add(b.Length("q_offset"), end)))
}

// keyBlocksOf is the number of key blocks of the batch entry; all are how many the buffers have room for.
func keyBlocksOf(b *lower.Builder, all lower.Value) lower.Value {
	if !b.ReadsLengths() {
		return all
	}
	return blocksOf(b, b.Length("sk"))
}

// leaveAbsent ends the block of a row block without rows; last, if any, is what it does before.
func leaveAbsent(b *lower.Builder, t lower.Value, last func()) {
	if b.ReadsLengths() {
		b.LeaveUnless(b.ICmp(enum.IPredSLT, b.Shl(t, blockLog), b.Length("sq")), last)
	}
}

// prepare finds the thread's place in the tile and its copies.
func (k *scoresKernel) prepare() {
	lane, warp := k.And(k.tid, lower.I32(31)), k.LShr(k.tid, 5)
	k.ty = k.Add(k.LShr(lane, 3), k.Shl(k.And(warp, lower.I32(1)), 5))
	k.tx = k.Add(k.And(lane, lower.I32(scoreLanesX-1)), k.Shl(k.LShr(warp, 1), 6))
	k.chunk = k.And(k.tid, lower.I32(3))
	row := k.LShr(k.tid, 2)
	k.to = k.Add(k.Add(k.Mul(row, lower.I32(scorePitch)), k.Shl(k.chunk, 4)), k.shared)
	q := k.head("pooled_q", k.BlockZ(), k.rows)
	k.q = k.newLoad(q, k.Add(k.Add(k.Param("slab_start"), k.row0), row), k.last)
	kv := k.head("pooled_k", k.UDiv(k.BlockZ(), k.Param("group")), k.keys)
	k.k = k.newLoad(kv, k.Add(k.key0, row), k.end)
}

// head is the first row of a head's pooled rows.
func (k *scoresKernel) head(name string, head, rows lower.Value) lower.Value {
	n := k.Mul(k.ZExt64(head), k.ZExt64(rows))
	return k.Offset(k.Param(name), k.Mul(n, lower.I64(int64(4*k.headDim))))
}

func (k *scoresKernel) newLoad(base, row, rows lower.Value) scoreLoad {
	from := k.Offset(base, k.Mul(k.ZExt64(row), lower.I64(int64(4*k.headDim))))
	return scoreLoad{k.Offset(from, k.ZExt64(k.Shl(k.chunk, 4))), k.Sub(rows, row)}
}

// start begins the copies of a stage: step steps into the head dim, at an offset of shared memory.
func (k *scoresKernel) start(step, offset lower.Value) {
	bytes := k.ZExt64(k.Mul(step, lower.I32(4*scoreStep)))
	to := k.Add(k.to, offset)
	k.copyRows(k.q, bytes, to, 0, scoreRows)
	k.copyRows(k.k, bytes, to, scoreRows, scoreKeys)
	k.CopyCommit()
}

// copyRows copies the thread's chunks of n rows to the rows from first on of a stage; rows past the end become zeros.
func (k *scoresKernel) copyRows(l scoreLoad, bytes, to lower.Value, first, n int) {
	from := k.Offset(l.from, bytes)
	for row := 0; row < n; row += scoreLoadRows {
		in := k.ICmp(enum.IPredSLT, lower.I32(int64(row)), l.left)
		at := k.Offset(from, lower.I64(int64(4*k.headDim*row)))
		k.Copy16If(k.SharedAt(to, (first+row)*scorePitch), at, k.Select(in, lower.I32(16), lower.I32(0)))
	}
}

// products runs over the head dim, two stages of shared memory in turn.
func (k *scoresKernel) products() []lower.Value {
	k.start(lower.I32(0), lower.I32(0))
	steps := lower.I32(int64(k.headDim / scoreStep))
	start := scoreSteps{lower.I32(0), lower.I32(0), slices.Repeat([]Value{lower.F32(0)}, scoreMicro*scoreMicro)}
	return lower.Repeat(k.Builder, "steps", start, func(s scoreSteps) (scoreSteps, Value) {
		k.CopyWaitAll()
		k.Barrier()
		next := scoreSteps{k.Add(s.step, lower.I32(1)), k.Sub(lower.I32(scoreStage), s.stage), slices.Clone(s.acc)}
		more := k.ICmp(enum.IPredSLT, next.step, steps)
		k.If("ahead", more, func() {
			k.start(next.step, next.stage)
		})
		k.multiply(next.acc, s.stage)
		return next, more
	}).acc
}

// scoreSteps is what the loop over the head dim carries: a step, the offset of its stage of shared memory, and the products so far.
type scoreSteps struct {
	step, stage Value
	acc         []Value
}

func (s *scoreSteps) Values() []*Value {
	return append([]*Value{&s.step, &s.stage}, lower.Pointers(s.acc)...)
}

func (s scoreSteps) Clone() scoreSteps { return scoreSteps{s.step, s.stage, slices.Clone(s.acc)} }

// multiply adds one stage's products.
func (k *scoresKernel) multiply(acc []lower.Value, stage lower.Value) {
	base := k.Add(k.shared, stage)
	qAt := k.Add(base, k.Mul(k.ty, lower.I32(scorePitch)))
	kAt := k.Add(base, k.Mul(k.tx, lower.I32(scorePitch)))
	for c := range scoreStep / 4 {
		var a [][]lower.Value
		for i := range scoreMicro {
			a = append(a, k.fragment(qAt, 16*c+i*scoreLanesY*scorePitch))
		}
		for j := range scoreMicro {
			b := k.fragment(kAt, scoreRows*scorePitch+16*c+j*scoreLanesX*scorePitch)
			for e := range 4 {
				for i := range scoreMicro {
					at := &acc[i*scoreMicro+j]
					*at = k.FMA(a[i][e], b[e], *at)
				}
			}
		}
	}
}

var float4 = types.NewVector(4, types.Float)

// fragment loads four elements of one row.
func (k *scoresKernel) fragment(at lower.Value, offset int) []lower.Value {
	v := k.Load(float4, k.SharedAt(at, offset), 16)
	var out []lower.Value
	for e := range 4 {
		out = append(out, k.Block.NewExtractElement(v, constant.NewInt(types.I32, int64(e))))
	}
	return out
}

// store writes the thread's scores, -inf where the key block is none of the row's.
func (k *scoresKernel) store(acc []lower.Value) {
	pad := padTo64(k.Builder, k.keys)
	key := k.Add(k.key0, k.tx)
	head := k.Mul(k.ZExt64(k.BlockZ()), k.ZExt64(k.Param("slab")))
	for i := range scoreMicro {
		row := k.Add(k.Add(k.row0, k.ty), lower.I32(int64(i*scoreLanesY)))
		k.If("row", k.ICmp(enum.IPredSLT, row, k.Param("slab")), func() {
			at := k.Add(k.Mul(k.Add(head, k.ZExt64(row)), k.ZExt64(pad)), k.ZExt64(key))
			p, seen := k.Offset(k.Param("scores"), k.Shl(at, 2)), k.candidates(row)
			for j := range scoreMicro {
				k.storeOne(p, key, pad, seen, j, acc[i*scoreMicro+j])
			}
		})
	}
}

func (k *scoresKernel) storeOne(p, key, pad, seen lower.Value, j int, score lower.Value) {
	key = k.Add(key, lower.I32(int64(j*scoreLanesX)))
	k.If("key", k.ICmp(enum.IPredSLT, key, pad), func() {
		score = k.Select(k.ICmp(enum.IPredSLT, key, seen), score, lower.NegInf())
		k.Store(score, k.Offset(p, lower.I64(int64(4*j*scoreLanesX))), 4)
	})
}

// padTo64 rounds up to a multiple of 64.
func padTo64(b *lower.Builder, n lower.Value) lower.Value {
	return b.And(b.Add(n, lower.I32(63)), lower.I32(-64))
}
