package passes

import (
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// pooledScores are products of pooled rows, or the shares that their softmax gives.
type pooledScores struct {
	q, k   ir.Pool
	shares bool
}

func (b *programBuilder) readPooled(of string, c *choice) bool {
	soft, shares := defined[ir.Softmax](b, of)
	if shares {
		of = soft.Of
	}
	scores, _ := defined[ir.BlockScores](b, of)
	q, isQ := defined[ir.Pool](b, scores.Q)
	k, isK := defined[ir.Pool](b, scores.K)
	c.scores = pooledScores{q, k, shares}
	return isQ && isK
}

func (s pooledScores) size(byGroup bool) scoreSize {
	size := scoreSize{rows: 1, values: 1, pooled: 1}
	if byGroup && s.shares {
		size.groupShares = 1
	} else if byGroup {
		size.groupPooled = 1
	}
	return size
}

// meansOfQueries says whether the means of a group are products of the means of its pooled queries: a softmax of each head stands between
// them where the scores are shares.
func (s pooledScores) meansOfQueries(byGroup bool) bool { return byGroup && !s.shares }

// poolKernel is the kernel of a pool, and how its pooled rows are called.
type poolKernel struct{ kernel, suffix string }

var poolKernels = map[ir.Reduction]map[int]poolKernel{
	ir.ReduceMean: {64: {abi.PoolMean, "mean"}, 128: {abi.PoolMean128, "mean_128"}},
	ir.ReduceMax:  {64: {abi.PoolMax, "max"}, 128: {abi.PoolMax128, "max_128"}},
}

// pooledName is the buffer of pooled rows.
func pooledName(p ir.Pool) string {
	return map[ir.Tensor]string{ir.TensorQ: "pooled_q_", ir.TensorK: "pooled_k_"}[p.Of] + poolKernels[p.With][p.Rows].suffix
}

// runPool launches a block for the rows of each pooled row.
func runPool(p ir.Pool, blocks, heads, entries ir.Expr, args []ir.Arg) []ir.Step {
	grid := [3]ir.Expr{blocks.Over(int64(p.Rows / ir.BlockSize)), heads, entries}
	return []ir.Step{ir.Run{Kernel: poolKernels[p.With][p.Rows].kernel, Grid: grid, Args: args}}
}

// before pools blocks of k for all heads, and blocks of q for the heads of a slice, unless that is done already.
func (s pooledScores) before(b *programBuilder, byGroup bool) (all, slice []ir.Step) {
	kName, qName := pooledName(s.k), pooledName(s.q)
	if !b.shaped[kName] {
		b.buffer(kName, "f32", true, batch.Times(kvHeads), keyBlocks, headDim)
		all = runPool(s.k, keyBlocks, kvHeads, batch, []ir.Arg{
			ir.AddressArg("x", "k", ir.N(0)), ir.AddressArg("out", kName, ir.N(0)),
			ir.NumberArg("n", sk), ir.NumberArg("q_heads", group),
			ir.NumberArg("x_batch", ir.Name("k_batch")), ir.NumberArg("x_head", ir.Name("k_head")), ir.NumberArg("x_row", ir.Name("k_row")),
		})
	}
	if !b.shaped[qName] {
		b.buffer(qName, "f32", true, ir.Name("scored_heads"), rowBlocks, headDim)
		slice = runPool(s.q, rowBlocks, ir.Name("score_q"), ir.Name("score_batch"), append(scoredHeads(false),
			scoredQ("x"), ir.AddressArg("out", qName, ir.N(0)), ir.NumberArg("n", sq), ir.NumberArg("q_heads", ir.N(1)),
			ir.NumberArg("x_batch", ir.Name("q_batch")), ir.NumberArg("x_head", ir.Name("q_head")), ir.NumberArg("x_row", ir.Name("q_row")),
		))
	}
	if s.meansOfQueries(byGroup) {
		slice = append(slice, b.pooledMeans(qName)...)
	}
	return all, slice
}

func (pooledScores) buffers(*programBuilder) {}

// work prices all choices from pooled blocks as one.
func (s pooledScores) work(b *programBuilder, byGroup bool, pairs func(heads ir.Expr) ir.Expr) {
	if slices.ContainsFunc(b.Work, func(w ir.Work) bool { return w.Unit == ir.WorkPooled }) {
		return
	}
	heads := ir.Name("present")
	rows := heads.Times(sq).Plus(kvHeads.Times(sk))
	if s.meansOfQueries(byGroup) {
		heads = kvHeads
	}
	b.Work = append(b.Work, ir.Work{Unit: ir.WorkPooled, Amount: ir.N(2).Times(rows).Times(headDim)},
		ir.Work{Unit: ir.WorkScores, Amount: pairs(heads)})
}

func (s pooledScores) score(byGroup bool) (steps []ir.Step, values string) {
	kv := ir.Name("entry").Times(kvHeads).Plus(ir.Name("kv_scored"))
	heads, args, pooled := ir.Name("score_heads"), scoredHeads(false), pooledName(s.q)
	if s.meansOfQueries(byGroup) {
		heads, pooled = ir.Name("score_groups"), "group_"+pooled
		args = append(scoredGroups(), ir.NumberArg("group", ir.N(1)))
	}
	steps = []ir.Step{ir.Run{Kernel: abi.BlockScores,
		Grid: [3]ir.Expr{keyBlocks.Over(abi.ScoreKeys), ir.Name("rows").Over(abi.ScoreRows), heads},
		Args: append(args, slabArg, ir.AddressArg("pooled_q", pooled, ir.N(0)),
			ir.AddressArg("pooled_k", pooledName(s.k), ir.N(4).Times(headDim).Times(keyBlocks).Times(kv)))}}
	if s.shares {
		steps = append(steps, share(ir.BlockSize, 1, ir.NullArg("sums"), "scores"))
	}
	return steps, "scores"
}
