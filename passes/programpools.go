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

func (s pooledScores) size() scoreSize { return scoreSize{rows: 1, values: 1, pooled: 1} }

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
func (s pooledScores) before(b *programBuilder) (all, slice []ir.Step) {
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
	return all, slice
}

func (pooledScores) buffers(*programBuilder) {}

// work prices all choices from pooled blocks as one.
func (pooledScores) work(b *programBuilder, pairs ir.Expr) {
	if slices.ContainsFunc(b.Work, func(w ir.Work) bool { return w.Unit == ir.WorkPooled }) {
		return
	}
	rows := ir.Name("present").Times(sq).Plus(kvHeads.Times(sk))
	b.Work = append(b.Work, ir.Work{Unit: ir.WorkPooled, Amount: ir.N(2).Times(rows).Times(headDim)},
		ir.Work{Unit: ir.WorkScores, Amount: pairs})
}

func (s pooledScores) score() (steps []ir.Step, values string) {
	kv := ir.Name("entry").Times(kvHeads).Plus(ir.Name("kv_scored"))
	steps = []ir.Step{ir.Run{Kernel: abi.BlockScores,
		Grid: [3]ir.Expr{keyBlocks.Over(abi.ScoreKeys), ir.Name("rows").Over(abi.ScoreRows), ir.Name("score_heads")},
		Args: append(scoredHeads(false), slabArg, ir.AddressArg("pooled_q", pooledName(s.q), ir.N(0)),
			ir.AddressArg("pooled_k", pooledName(s.k), ir.N(4).Times(headDim).Times(keyBlocks).Times(kv)))}}
	if s.shares {
		steps = append(steps, share(ir.BlockSize, 1, ir.NullArg("sums"), "scores"))
	}
	return steps, "scores"
}
