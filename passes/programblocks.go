package passes

import (
	"fmt"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Choices of blocks start from scores: products of pooled rows, or of the antidiagonals of squares. They are scored as many row blocks at a
// time, a slab, as their scores have room.

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
	spare := b.slab(chosen)
	for _, c := range chosen {
		b.Limits = append(b.Limits, ir.Limit{Value: sk, Most: abi.MaxKeyBlocks * ir.BlockSize, What: "SeqK of chosen blocks; use fewer keys"})
		if c.fold == 0 {
			out = append(append(out, b.pool(c.q)...), b.pool(c.k)...)
		}
		b.scoreBuffers(c)
		b.scoreWork(c)
		out = append(out, ir.For{Var: "slab_start", End: rowBlocks, By: slabRows, Steps: append([]ir.Step{
			ir.Let{Name: "rows", Expr: ir.Call(ir.OpMin, slabRows, rowBlocks.Minus(ir.Name("slab_start")))},
		}, c.chooseSlab()...)})
	}
	b.buffer("spare_scores", "f32", true, ir.Call(ir.OpFloorDiv, spare, ir.N(4)))
	return out
}

// slab defines how many row blocks are scored at a time. Where there are several slabs, they have all of the scratch, so that no shorter
// call needs more: what they leave of it is returned, in bytes.
func (b *programBuilder) slab(chosen []choice) (spare ir.Expr) {
	rows, values, shares := 1, 1, 0 // rows of scores that a row block has at most, values of each, and of the row block's shares
	for _, c := range chosen {
		if c.fold > 0 {
			rows, values, shares = max(rows, ir.BlockSize/c.fold), 2, 1
		}
	}
	b.define("score_rows", ir.N(int64(rows)))
	b.define("scores_pad", padded(keyBlocks))
	row := ir.N(int64(4 * rows * values)).Times(allHeads).Times(ir.Name("scores_pad"))
	fit := b.define("slab_fit", ir.Call(ir.OpMax, ir.N(1), ir.Call(ir.OpFloorDiv, scratch, ir.Call(ir.OpMax, ir.N(1), row))))
	whole := ir.Call(ir.OpPick, ir.Call(ir.OpAtLeast, fit, ir.N(abi.ScoreRows)), // whole tiles of block_scores
		ir.N(abi.ScoreRows).Times(ir.Call(ir.OpFloorDiv, fit, ir.N(abi.ScoreRows))), fit)
	slab := b.define("slab", ir.Call(ir.OpMin, whole, ir.Call(ir.OpMax, ir.N(1), rowBlocks)))
	each := int64(rows * values) // the scratch is for so many values of a row block, which may have shares besides
	room := ir.Call(ir.OpFloorDiv, scratch, ir.N(each)).Times(ir.N(each + int64(shares)))
	used := ir.N(4 * (each + int64(shares))).Times(allHeads).Times(ir.Name("scores_pad")).Times(slab)
	return ir.Call(ir.OpPick, ir.Call(ir.OpAtLeast, slab, rowBlocks), ir.N(0), ir.Call(ir.OpMax, ir.N(0), room.Minus(used)))
}

func pooledName(p ir.Pool) string {
	return fmt.Sprintf("pooled_%s_%s", []string{ir.TensorQ: "q", ir.TensorK: "k"}[p.Of], []string{ir.ReduceMean: "mean", ir.ReduceMax: "max"}[p.With])
}

// pool reduces blocks of q or k to rows, unless that is done already.
func (b *programBuilder) pool(p ir.Pool) []ir.Step {
	name := pooledName(p)
	if b.shaped[name] {
		return nil
	}
	x, n, heads, shared := "q", sq, qHeads, ir.N(1)
	if p.Of == ir.TensorK {
		x, n, heads, shared = "k", sk, kvHeads, group
	}
	kernel := abi.PoolMean
	if p.With == ir.ReduceMax {
		kernel = abi.PoolMax
	}
	b.buffer(name, "f32", true, batch.Times(heads), n.Over(ir.BlockSize), headDim)
	return []ir.Step{ir.Run{Kernel: kernel, Grid: [3]ir.Expr{n.Over(ir.BlockSize), heads, batch}, Args: []ir.Arg{
		ir.AddressArg("x", x, ir.N(0)), ir.AddressArg("out", name, ir.N(0)), ir.NumberArg("n", n), ir.NumberArg("q_heads", shared),
		ir.NumberArg("x_batch", ir.Name(x+"_batch")), ir.NumberArg("x_head", ir.Name(x+"_head")), ir.NumberArg("x_row", ir.Name(x+"_row")),
	}}}
}

func (b *programBuilder) scoreBuffers(c choice) {
	row, pad := ir.Name("score_rows"), ir.Name("scores_pad")
	if c.fold > 0 {
		b.buffer("score_sums", "f32", true, allHeads, slabRows, row, pad)
		b.buffer("shares", "f32", true, allHeads, slabRows, pad)
	}
	b.buffer("scores", "f32", true, allHeads, slabRows, row, pad) // of one choice after the other
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
	args := append(c.same("blocks", "block_count"), slab, ir.AddressArg("scores", scores, ir.N(0)), ir.NumberArg("hq", qHeads),
		ir.AddressArg("block_n", "numbers", ir.N(int64(4*c.row)).Times(qHeads)), ir.NumberArg("block_cap", c.value("block_cap")),
		ir.NumberArg("first", clipped(c.First)), ir.NumberArg("last", clipped(c.Last)))
	if c.Rule != ir.Top {
		args = append(args, ir.AddressArg("block_most", "numbers", ir.N(int64(4*(c.row+1))).Times(qHeads)))
	}
	threads := ir.N(32).Times(ir.Call(ir.OpMax, ir.N(1), keyBlocks.Over(32*abi.SelectKeys))) // whole warps that hold all scores of a row
	return append(steps, ir.Run{Kernel: abi.BlockSelectKernels[c.Rule], Grid: [3]ir.Expr{ir.Name("rows"), allHeads, ir.N(1)}, Threads: &threads, Args: args})
}

// scorePooled computes the scores of pooled blocks, or their shares.
func (c choice) scorePooled(slab ir.Arg) []ir.Step {
	steps := []ir.Step{ir.Run{Kernel: abi.BlockScores,
		Grid: [3]ir.Expr{keyBlocks.Over(abi.ScoreKeys), ir.Name("rows").Over(abi.ScoreRows), allHeads},
		Args: []ir.Arg{slab, ir.AddressArg("pooled_q", pooledName(c.q), ir.N(0)), ir.AddressArg("pooled_k", pooledName(c.k), ir.N(0))}}}
	if c.shares {
		steps = append(steps, share(slab, ir.BlockSize, 1, ir.NullArg("sums"), "scores"))
	}
	return steps
}

// scoreSquares computes the shares of blocks from the antidiagonals of their squares.
func (c choice) scoreSquares(slab ir.Arg) []ir.Step {
	fold := int64(c.fold)
	sums := ir.AddressArg("sums", "score_sums", ir.N(0))
	grid := [3]ir.Expr{sk.Over(fold).Over(abi.SquareTile), ir.N(ir.BlockSize / fold).Times(ir.Name("rows")).Over(abi.SquareTile), allHeads}
	return []ir.Step{
		ir.Run{Kernel: abi.SquareScores, Grid: grid, Args: []ir.Arg{slab, sums, ir.NumberArg("fold", ir.N(fold)),
			ir.NumberArg("hq", qHeads), ir.FloatArg("scale", "scale_log2", fold)}},
		share(slab, fold, fold, sums, "shares"),
	}
}

// share turns scores into shares of a whole.
func share(slab ir.Arg, fold, scaleBy int64, sums ir.Arg, to string) ir.Step {
	return ir.Run{Kernel: abi.BlockShares, Grid: [3]ir.Expr{ir.Name("rows"), allHeads, ir.N(1)}, Args: []ir.Arg{slab, sums,
		ir.AddressArg("shares", to, ir.N(0)), ir.NumberArg("fold", ir.N(fold)), ir.FloatArg("scale", "scale_log2", scaleBy)}}
}
