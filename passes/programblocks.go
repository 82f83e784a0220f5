package passes

import (
	"fmt"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Choices of blocks start from scores: products of pooled rows, or of the antidiagonals of squares. There are as many as there are pairs of
// blocks in a head, so the heads are cut into slices whose scores fit the scratch memory; and a single head that does not fit is scored as many
// row blocks at a time, a slab, as do.

// blocks is what a choice of blocks starts from.
type blocks struct {
	q, k   ir.Pool
	shares bool // softmax of the scores
	fold   int  // side of the squares that are scored in place of pooled blocks, or 0
}

// blocksOf follows a choice to its scores.
func (b *programBuilder) blocksOf(s ir.Select) (x blocks, err error) {
	from := b.defs[s.Of]
	if soft, ok := from.(ir.Softmax); ok {
		from, x.shares = b.defs[soft.Of], true
	}
	switch of := from.(type) {
	case ir.Sum:
		x.shares = true
		x.fold, err = b.foldOf(of)
		return x, err
	case ir.BlockScores:
		var isQ, isK bool
		x.q, isQ = b.defs[of.Q].(ir.Pool)
		x.k, isK = b.defs[of.K].(ir.Pool)
		if !isQ || !isK {
			return x, fmt.Errorf("internal: block scores of %T and %T", b.defs[of.Q], b.defs[of.K])
		}
		return x, nil
	default:
		return x, fmt.Errorf("internal: a choice from %T", of)
	}
}

// foldOf follows a sum over blocks to the squares that it starts from.
func (b *programBuilder) foldOf(sum ir.Sum) (int, error) {
	soft, _ := b.defs[sum.Of].(ir.Softmax)
	of, ok := b.defs[soft.Of].(ir.Antidiagonals)
	if !ok {
		return 0, fmt.Errorf("internal: a sum over blocks of %T", b.defs[sum.Of])
	}
	return of.Step, nil
}

var slabRows = ir.Name("slab")

// chooseBlocks pools what choices start from, each pool once, and chooses.
func (b *programBuilder) chooseBlocks() (out []ir.Step) {
	var chosen []choice
	for _, c := range b.choices {
		if c.source.Kind == ir.SourceBlocks {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) == 0 {
		return nil
	}
	b.scoreSlices(chosen)
	inner := []ir.Step{
		ir.Let{Name: "score_q", Expr: ir.Call(ir.OpMin, ir.Name("score_step"), qHeads.Minus(ir.Name("head")))},
		ir.Let{Name: "score_heads", Expr: ir.Name("score_batch").Times(ir.Name("score_q"))},
		ir.Let{Name: "first_scored", Expr: ir.Name("entry").Times(qHeads).Plus(ir.Name("head"))},
		ir.Let{Name: "kv_scored", Expr: ir.Call(ir.OpFloorDiv, ir.Name("head"), group)},
		ir.Heads{First: ir.Name("first_scored"), N: ir.Name("score_heads")},
	}
	b.Limits = append(b.Limits, ir.Limit{Value: sk, Most: abi.MaxKeyBlocks * ir.BlockSize, What: "SeqK of chosen blocks; use fewer keys"})
	for _, c := range chosen {
		if c.fold == 0 {
			out, inner = append(out, b.poolK(c.k)...), append(inner, b.poolQ(c.q)...)
		}
	}
	for _, c := range chosen {
		b.scoreBuffers(c)
		b.scoreWork(c)
		inner = append(inner, ir.For{Var: "slab_start", End: rowBlocks, By: slabRows, Steps: append([]ir.Step{
			ir.Let{Name: "rows", Expr: ir.Call(ir.OpMin, slabRows, rowBlocks.Minus(ir.Name("slab_start")))},
		}, c.chooseSlab()...)})
	}
	b.buffer("spare_scores", "f32", true, ir.Name("spare_bytes").Over(4))
	return append(out, ir.For{Var: "entry", End: batch, By: ir.Name("score_batch"), Steps: []ir.Step{
		ir.For{Var: "head", End: qHeads, By: ir.Name("score_step"), Steps: inner}}})
}

// scoreSlices defines how many heads are scored at a time (all, some kv heads of an entry, or one q head), and how many row blocks. Calls that
// are cut have all of the scratch, so that no shorter call needs more.
func (b *programBuilder) scoreSlices(chosen []choice) {
	rows, values, shares, pooled := 1, 1, 0, ir.N(0) // rows of scores of a row block at most, values of each, shares beside; bytes of pooled q
	for _, c := range chosen {
		if c.fold > 0 {
			rows, values, shares = max(rows, ir.BlockSize/c.fold), 2, 1
		} else {
			pooled = ir.N(4).Times(headDim)
		}
	}
	pick, atLeast := func(c, yes, no ir.Expr) ir.Expr { return ir.Call(ir.OpPick, c, yes, no) }, func(x, y ir.Expr) ir.Expr { return ir.Call(ir.OpAtLeast, x, y) }
	one := ir.N(1)
	b.define("score_rows", ir.N(int64(rows)))
	b.define("scores_pad", padded(keyBlocks))
	row := b.define("row_scores", ir.Call(ir.OpMax, one, ir.N(int64(4*(rows*values+shares))).Times(ir.Name("scores_pad")))) // bytes, of a row block
	head := b.define("head_scores", ir.Call(ir.OpMax, one, rowBlocks).Times(row.Plus(pooled)))
	fit := b.define("heads_fit", ir.Call(ir.OpFloorDiv, scratch, head))
	whole := b.define("scores_fit", atLeast(fit, allHeads))
	b.define("score_batch", pick(whole, batch, one))
	someKV := pick(atLeast(fit, group), group.Times(ir.Call(ir.OpFloorDiv, fit, group)), one)
	b.define("score_step", pick(atLeast(fit, qHeads), qHeads, someKV))
	scored := b.define("scored_heads", ir.Name("score_batch").Times(ir.Name("score_step")))
	rowsFit := b.define("rows_fit", ir.Call(ir.OpMax, one, ir.Call(ir.OpFloorDiv, scratch, row.Times(scored))))
	tiles := pick(atLeast(rowsFit, ir.N(abi.ScoreRows)), // whole tiles of block_scores
		ir.N(abi.ScoreRows).Times(ir.Call(ir.OpFloorDiv, rowsFit, ir.N(abi.ScoreRows))), rowsFit)
	b.define("slab", pick(atLeast(rowsFit, rowBlocks), ir.Call(ir.OpMax, one, rowBlocks), tiles))
	used := pick(atLeast(fit, one), scored.Times(head), slabRows.Times(row))
	b.define("spare_bytes", pick(whole, ir.N(0), ir.Call(ir.OpMax, ir.N(0), scratch.Minus(used))))
}

// scoredHeads are the arguments that say which heads a launch scores.
func scoredHeads(hq bool) []ir.Arg {
	args := []ir.Arg{ir.AddressArg("heads", "heads", ir.N(4).Times(ir.Name("first_scored")))}
	if hq {
		args = append(args, ir.NumberArg("hq", ir.Name("score_q")))
	}
	return args
}

func pooledName(p ir.Pool) string {
	return fmt.Sprintf("pooled_%s_%s", []string{ir.TensorQ: "q", ir.TensorK: "k"}[p.Of], []string{ir.ReduceMean: "mean", ir.ReduceMax: "max"}[p.With])
}

// poolK reduces blocks of k to rows, for all heads, unless that is done already.
func (b *programBuilder) poolK(p ir.Pool) []ir.Step {
	name := pooledName(p)
	if b.shaped[name] {
		return nil
	}
	b.buffer(name, "f32", true, batch.Times(kvHeads), keyBlocks, headDim)
	return []ir.Step{ir.Run{Kernel: poolKernel(p), Grid: [3]ir.Expr{keyBlocks, kvHeads, batch}, Args: []ir.Arg{
		ir.AddressArg("x", "k", ir.N(0)), ir.AddressArg("out", name, ir.N(0)), ir.NumberArg("n", sk), ir.NumberArg("q_heads", group),
		ir.NumberArg("x_batch", ir.Name("k_batch")), ir.NumberArg("x_head", ir.Name("k_head")), ir.NumberArg("x_row", ir.Name("k_row")),
	}}}
}

// poolQ reduces blocks of q to rows, for the heads of a slice, unless that is done already.
func (b *programBuilder) poolQ(p ir.Pool) []ir.Step {
	name := pooledName(p)
	if b.shaped[name] {
		return nil
	}
	b.buffer(name, "f32", true, ir.Name("scored_heads"), rowBlocks, headDim)
	return []ir.Step{ir.Run{Kernel: poolKernel(p), Grid: [3]ir.Expr{rowBlocks, ir.Name("score_q"), ir.Name("score_batch")}, Args: append(scoredHeads(false),
		ir.AddressArg("x", "q", ir.Name("entry").Times(ir.Name("q_batch")).Plus(ir.Name("head").Times(ir.Name("q_head")))),
		ir.AddressArg("out", name, ir.N(0)), ir.NumberArg("n", sq), ir.NumberArg("q_heads", ir.N(1)),
		ir.NumberArg("x_batch", ir.Name("q_batch")), ir.NumberArg("x_head", ir.Name("q_head")), ir.NumberArg("x_row", ir.Name("q_row")),
	)}}
}

func poolKernel(p ir.Pool) string {
	if p.With == ir.ReduceMax {
		return abi.PoolMax
	}
	return abi.PoolMean
}

func (b *programBuilder) scoreBuffers(c choice) {
	row, pad := ir.Name("score_rows"), ir.Name("scores_pad")
	if c.fold > 0 {
		b.buffer("score_sums", "f32", true, ir.Name("scored_heads"), slabRows, row, pad)
		b.buffer("shares", "f32", true, ir.Name("scored_heads"), slabRows, pad)
	}
	b.buffer("scores", "f32", true, ir.Name("scored_heads"), slabRows, row, pad) // of one choice after the other
}

// scoreWork prices the scores. Squares of fold by fold take 64*64/fold products a pair of blocks, pooled blocks one.
func (b *programBuilder) scoreWork(c choice) {
	pairs := ir.Name("present").Times(rowBlocks).Times(columns.Over(ir.BlockSize))
	if c.fold > 0 {
		b.Work = append(b.Work, ir.Work{Unit: ir.WorkSquares, Amount: pairs.Times(ir.N(int64(ir.BlockSize * ir.BlockSize / c.fold)))})
		return
	}
	for _, w := range b.Work {
		if w.Unit == ir.WorkPooled { // all choices from pooled blocks are priced as one
			return
		}
	}
	rows := ir.Name("present").Times(sq).Plus(kvHeads.Times(sk))
	b.Work = append(b.Work, ir.Work{Unit: ir.WorkPooled, Amount: ir.N(2).Times(rows).Times(headDim)}, ir.Work{Unit: ir.WorkScores, Amount: pairs})
}

// chooseSlab scores and chooses for the row blocks of a slab.
func (c choice) chooseSlab() []ir.Step {
	slab := ir.NumberArg("slab", ir.Name("rows"))
	scores, steps := "scores", []ir.Step(nil)
	if c.fold > 0 {
		scores, steps = "shares", c.scoreSquares(slab)
	} else {
		steps = c.scorePooled(slab)
	}
	first, numbers := ir.Name("first_scored").Times(rowBlocks), func(row int) ir.Expr { return ir.N(4).Times(ir.N(int64(row)).Times(qHeads).Plus(ir.Name("head"))) }
	args := append(scoredHeads(true), slab, ir.AddressArg("scores", scores, ir.N(0)),
		ir.AddressArg("blocks", c.name("blocks"), ir.N(4).Times(first).Times(c.value("block_cap"))),
		ir.AddressArg("block_count", c.name("block_count"), ir.N(4).Times(first)), ir.NumberArg("block_cap", c.value("block_cap")),
		ir.AddressArg("block_n", "numbers", numbers(c.row)), ir.NumberArg("first", clipped(c.First)), ir.NumberArg("last", clipped(c.Last)))
	if c.Rule != ir.Top {
		args = append(args, ir.AddressArg("block_most", "numbers", numbers(c.row+1)))
	}
	threads := ir.N(32).Times(ir.Call(ir.OpMax, ir.N(1), keyBlocks.Over(32*abi.SelectKeys))) // whole warps that hold all scores of a row
	return append(steps, ir.Run{Kernel: abi.BlockSelectKernels[c.Rule], Grid: [3]ir.Expr{ir.Name("rows"), ir.Name("score_heads"), ir.N(1)}, Threads: &threads, Args: args})
}

// scorePooled computes the scores of pooled blocks, or their shares.
func (c choice) scorePooled(slab ir.Arg) []ir.Step {
	kv := ir.Name("entry").Times(kvHeads).Plus(ir.Name("kv_scored"))
	steps := []ir.Step{ir.Run{Kernel: abi.BlockScores,
		Grid: [3]ir.Expr{keyBlocks.Over(abi.ScoreKeys), ir.Name("rows").Over(abi.ScoreRows), ir.Name("score_heads")},
		Args: append(scoredHeads(false), slab, ir.AddressArg("pooled_q", pooledName(c.q), ir.N(0)),
			ir.AddressArg("pooled_k", pooledName(c.k), ir.N(4).Times(headDim).Times(keyBlocks).Times(kv)))}}
	if c.shares {
		steps = append(steps, share(slab, ir.BlockSize, 1, ir.NullArg("sums"), "scores"))
	}
	return steps
}

// scoreSquares computes the shares of blocks from the antidiagonals of their squares.
func (c choice) scoreSquares(slab ir.Arg) []ir.Step {
	fold := int64(c.fold)
	sums := ir.AddressArg("sums", "score_sums", ir.N(0))
	rows := ir.N(ir.BlockSize / fold).Times(ir.Name("rows"))
	args := append(scoredHeads(true), slab, sums, ir.NumberArg("fold", ir.N(fold)), ir.FloatArg("scale", "scale_log2", fold),
		ir.AddressArg("q", "q", ir.Name("entry").Times(ir.Name("q_batch")).Plus(ir.Name("head").Times(ir.Name("q_head")))),
		ir.AddressArg("k", "k", ir.Name("entry").Times(ir.Name("k_batch")).Plus(ir.Name("kv_scored").Times(ir.Name("k_head")))))
	return []ir.Step{
		ir.Run{Kernel: abi.SquareScores, Grid: [3]ir.Expr{sk.Over(fold).Over(abi.SquareTile), rows.Over(abi.SquareTile), ir.Name("score_heads")}, Args: args},
		share(slab, fold, fold, sums, "shares"),
	}
}

// share turns scores into shares of a whole.
func share(slab ir.Arg, fold, scaleBy int64, sums ir.Arg, to string) ir.Step {
	return ir.Run{Kernel: abi.BlockShares, Grid: [3]ir.Expr{ir.Name("rows"), ir.Name("score_heads"), ir.N(1)}, Args: append(scoredHeads(false), slab, sums,
		ir.AddressArg("shares", to, ir.N(0)), ir.NumberArg("fold", ir.N(fold)), ir.FloatArg("scale", "scale_log2", scaleBy))}
}
