package passes

import (
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Choices of blocks start from scores: products of pooled rows, or of the antidiagonals of squares. There are as many as there are pairs of
// blocks in a head, so the heads are cut into slices whose scores fit the scratch memory; a single head that does not fit is scored in
// slabs, as many row blocks at a time as fit.

// blockScores is what choices of blocks start from: a kind of scores, and how kernels compute them.
type blockScores interface {
	// size is the memory that scores of a row block take, for a choice by group or for another one.
	size(byGroup bool) scoreSize
	// meansOfQueries says whether scores are made of kv heads in the first place, so that no means of scores have to be made.
	meansOfQueries(byGroup bool) bool
	// before are the steps that come before scores: once for all heads, and for the heads of a slice.
	before(b *programBuilder, byGroup bool) (all, slice []ir.Step)
	// buffers adds what scores need, beside the scores, and work the price of scores, of which so many heads have so many.
	buffers(b *programBuilder)
	work(b *programBuilder, byGroup bool, pairs func(heads ir.Expr) ir.Expr)
	// score are the steps that score a slab, and the buffer in which a choice finds its values.
	score(byGroup bool) (steps []ir.Step, values string)
}

// scoreSize is memory in units of a row of scores, padded keys times 4 bytes.
type scoreSize struct {
	rows   int // of scores of a row block
	values int // of each score
	shares int // rows beside
	pooled int // pooled queries beside, rows of head dim

	groupShares, groupPooled int // means of a kv head: rows of shares, and pooled queries
}

var (
	slabRows = ir.Name("slab")
	slabArg  = ir.NumberArg("slab", ir.Name("rows")) // row blocks of the slab that is scored
)

// chooseBlocks pools the keys that choices start from, each pool once, and chooses.
func (b *programBuilder) chooseBlocks() (pool, choose []ir.Step) {
	var chosen []choice
	for _, c := range b.choices {
		if c.source.Kind == ir.SourceBlocks {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) == 0 {
		return nil, nil
	}
	b.scoreSlices(chosen)
	inner := []ir.Step{
		ir.Let{Name: "score_q", Expr: ir.Call(ir.OpMin, ir.Name("score_step"), qHeads.Minus(ir.Name("head")))},
		ir.Let{Name: "score_heads", Expr: ir.Name("score_batch").Times(ir.Name("score_q"))},
		ir.Let{Name: "first_scored", Expr: ir.Name("entry").Times(qHeads).Plus(ir.Name("head"))},
		ir.Let{Name: "kv_scored", Expr: ir.Call(ir.OpFloorDiv, ir.Name("head"), group)},
		ir.Heads{First: ir.Name("first_scored"), N: ir.Name("score_heads")},
	}
	if slices.ContainsFunc(chosen, func(c choice) bool { return c.ByGroup }) {
		inner = append(inner, ir.Let{Name: "score_kv", Expr: ir.Call(ir.OpFloorDiv, ir.Name("score_q"), group)},
			ir.Let{Name: "score_groups", Expr: ir.Name("score_batch").Times(ir.Name("score_kv"))},
			ir.Let{Name: "first_scored_group", Expr: ir.Name("entry").Times(kvHeads).Plus(ir.Name("kv_scored"))})
	}
	b.Limits = append(b.Limits, ir.Limit{Value: sk, Most: abi.MaxKeyBlocks * ir.BlockSize, What: "SeqK of chosen blocks; use fewer keys"})
	for _, c := range chosen {
		all, slice := c.scores.before(b, c.ByGroup)
		pool, inner = append(pool, all...), append(inner, slice...)
	}
	for _, c := range chosen {
		c.scores.buffers(b)
		// One buffer serves one choice after the other.
		b.buffer("scores", "f32", true, ir.Name("scored_heads"), slabRows, ir.Name("score_rows"), ir.Name("scores_pad"))
		if c.scores.size(c.ByGroup).groupShares > 0 {
			b.buffer("group_shares", "f32", true, ir.Name("scored_groups"), slabRows, ir.Name("scores_pad"))
		}
		c.scores.work(b, c.ByGroup, func(heads ir.Expr) ir.Expr { return heads.Times(rowBlocks).Times(columns.Over(ir.BlockSize)) })
		inner = append(inner, ir.For{Var: "slab_start", End: rowBlocks, By: slabRows, Steps: append([]ir.Step{
			ir.Let{Name: "rows", Expr: ir.Call(ir.OpMin, slabRows, rowBlocks.Minus(ir.Name("slab_start")))},
		}, c.chooseSlab()...)})
	}
	b.buffer("spare_scores", "f32", true, ir.Name("spare_bytes").Over(4))
	return pool, []ir.Step{ir.For{Var: "entry", End: batch, By: ir.Name("score_batch"), Steps: []ir.Step{
		ir.For{Var: "head", End: qHeads, By: ir.Name("score_step"), Steps: inner}}}}
}

// scoreSlices defines how many heads are scored at a time (all, some kv heads of an entry, or one q head), and how many row blocks. Calls
// that are cut have all of the scratch, so that no shorter call needs more.
func (b *programBuilder) scoreSlices(chosen []choice) {
	var most scoreSize
	for _, c := range chosen {
		s := c.scores.size(c.ByGroup)
		most.rows, most.values = max(most.rows, s.rows), max(most.values, s.values)
		most.shares, most.pooled = max(most.shares, s.shares), max(most.pooled, s.pooled)
		most.groupShares, most.groupPooled = max(most.groupShares, s.groupShares), max(most.groupPooled, s.groupPooled)
	}
	pooled := ir.N(0)
	if most.pooled > 0 {
		pooled = ir.N(int64(4 * most.pooled)).Times(headDim)
	}
	pick := func(c, yes, no ir.Expr) ir.Expr { return ir.Call(ir.OpPick, c, yes, no) }
	atLeast := func(x, y ir.Expr) ir.Expr { return ir.Call(ir.OpAtLeast, x, y) }
	one := ir.N(1)
	b.define("score_rows", ir.N(int64(most.rows)))
	b.define("scores_pad", padded(keyBlocks))
	rowBytes := ir.N(int64(4 * (most.rows*most.values + most.shares))).Times(ir.Name("scores_pad"))
	row := b.define("row_scores", ir.Call(ir.OpMax, one, rowBytes)) // of a row block
	head := b.define("head_scores", ir.Call(ir.OpMax, one, rowBlocks).Times(row.Plus(pooled)))
	s := b.headsOrGroups(chosen, most, row, head)
	whole := ir.Name("scores_fit")
	rowsFit := b.define("rows_fit", ir.Call(ir.OpMax, one, ir.Call(ir.OpFloorDiv, scratch, s.row)))
	tiles := pick(atLeast(rowsFit, ir.N(abi.ScoreRows)), // whole tiles of block_scores
		ir.N(abi.ScoreRows).Times(ir.Call(ir.OpFloorDiv, rowsFit, ir.N(abi.ScoreRows))), rowsFit)
	b.define("slab", pick(atLeast(rowsFit, rowBlocks), ir.Call(ir.OpMax, one, rowBlocks), tiles))
	used := pick(atLeast(s.fit, one), s.all, slabRows.Times(s.least))
	b.define("spare_bytes", pick(whole, ir.N(0), ir.Call(ir.OpMax, ir.N(0), scratch.Minus(used))))
}

// scoreSlice is what is scored at a time: how many heads, or kv heads, fit the scratch, the bytes of a row block of all of them, of all their row
// blocks, and of a row block where none fits.
type scoreSlice struct{ fit, row, all, least ir.Expr }

// headsOrGroups defines which heads are scored at a time, given the bytes that a row block and all row blocks of one take.
func (b *programBuilder) headsOrGroups(chosen []choice, size scoreSize, row, head ir.Expr) scoreSlice {
	if slices.ContainsFunc(chosen, func(c choice) bool { return c.ByGroup }) {
		return b.groupSlices(size, row, head)
	}
	return b.headSlices(row, head)
}

// headSlices cuts the heads into slices of some kv heads or of single q heads.
func (b *programBuilder) headSlices(row, head ir.Expr) scoreSlice {
	one := ir.N(1)
	fit := b.define("heads_fit", ir.Call(ir.OpFloorDiv, scratch, head))
	whole := b.define("scores_fit", ir.Call(ir.OpAtLeast, fit, allHeads))
	b.define("score_batch", ir.Call(ir.OpPick, whole, batch, one))
	someKV := ir.Call(ir.OpPick, ir.Call(ir.OpAtLeast, fit, group), group.Times(ir.Call(ir.OpFloorDiv, fit, group)), one)
	b.define("score_step", ir.Call(ir.OpPick, ir.Call(ir.OpAtLeast, fit, qHeads), qHeads, someKV))
	scored := b.define("scored_heads", ir.Name("score_batch").Times(ir.Name("score_step")))
	return scoreSlice{fit, row.Times(scored), scored.Times(head), row}
}

// groupSlices cuts them into slices of kv heads: whole groups are scored together.
func (b *programBuilder) groupSlices(size scoreSize, row, head ir.Expr) scoreSlice {
	one := ir.N(1)
	shares := ir.N(int64(4 * size.groupShares)).Times(ir.Name("scores_pad"))
	means := shares.Plus(ir.N(int64(4 * size.groupPooled)).Times(headDim))
	kv := b.define("group_scores", group.Times(head).Plus(ir.Call(ir.OpMax, one, rowBlocks).Times(means)))
	fit := b.define("groups_fit", ir.Call(ir.OpFloorDiv, scratch, kv))
	whole := b.define("scores_fit", ir.Call(ir.OpAtLeast, fit, allGroups))
	b.define("score_batch", ir.Call(ir.OpPick, whole, batch, one))
	b.define("score_step", group.Times(ir.Call(ir.OpMin, kvHeads, ir.Call(ir.OpMax, one, fit))))
	scored := b.define("scored_heads", ir.Name("score_batch").Times(ir.Name("score_step")))
	groups := b.define("scored_groups", ir.Call(ir.OpFloorDiv, scored, group))
	slab := row.Times(scored).Plus(shares.Times(groups))
	return scoreSlice{fit, slab, groups.Times(kv), slab}
}

// scoredHeads are the arguments that say which heads a launch scores.
func scoredHeads(hq bool) []ir.Arg {
	args := []ir.Arg{ir.AddressArg("heads", "heads", ir.N(4).Times(ir.Name("first_scored")))}
	if hq {
		args = append(args, ir.NumberArg("hq", ir.Name("score_q")))
	}
	return args
}

// scoredGroups is the argument that says which kv heads take part.
func scoredGroups() []ir.Arg {
	return []ir.Arg{ir.AddressArg("heads", "groups", ir.N(4).Times(ir.Name("first_scored_group")))}
}

// chooseSlab scores and chooses for the row blocks of a slab.
func (c choice) chooseSlab() []ir.Step {
	steps, scores := c.scores.score(c.ByGroup)
	first, heads, who := ir.Name("first_scored"), ir.Name("score_heads"), scoredHeads(true)
	if c.ByGroup {
		first, heads, who = ir.Name("first_scored_group"), ir.Name("score_groups"), append(scoredGroups(), ir.NumberArg("hq", ir.Name("score_kv")))
		if !c.scores.meansOfQueries(true) {
			var means ir.Step
			means, scores = meanShares(scores)
			steps = append(steps, means)
		}
	}
	first = first.Times(rowBlocks)
	number := func(param string, row int) ir.Arg {
		return c.numberOf(param, row, ir.Name("head"), ir.Name("kv_scored"))
	}
	args := append(who, slabArg, ir.AddressArg("scores", scores, ir.N(0)),
		ir.AddressArg("blocks", c.name("blocks"), ir.N(4).Times(first).Times(c.value("block_cap"))),
		ir.AddressArg("block_count", c.name("block_count"), ir.N(4).Times(first)), ir.NumberArg("block_cap", c.value("block_cap")),
		number("block_n", c.row), ir.NumberArg("first", clipped(c.First)), ir.NumberArg("last", clipped(c.Last)))
	if c.Rule != ir.Top {
		args = append(args, number("block_most", c.row+1), ir.NullArg("block_least"))
	}
	if c.Least != nil {
		args[len(args)-1] = number("block_least", c.row+2)
	}
	threads := ir.N(32).Times(ir.Call(ir.OpMax, ir.N(1), keyBlocks.Over(32*abi.SelectKeys))) // whole warps that hold all scores of a row
	grid := [3]ir.Expr{ir.Name("rows"), heads, ir.N(1)}
	return append(steps, ir.Run{Kernel: abi.BlockSelectKernels[c.Rule], Grid: grid, Threads: &threads, Args: args})
}

// scoredQ is the argument that says where the queries of the first scored head are.
func scoredQ(param string) ir.Arg {
	return ir.AddressArg(param, "q", ir.Name("entry").Times(ir.Name("q_batch")).Plus(ir.Name("head").Times(ir.Name("q_head"))))
}

// share turns scores into shares of a whole.
func share(fold, scaleBy int64, sums ir.Arg, to string) ir.Step {
	args := append(scoredHeads(false), slabArg, sums,
		ir.AddressArg("shares", to, ir.N(0)), ir.NumberArg("fold", ir.N(fold)), ir.FloatArg("scale", "scale_log2", scaleBy))
	return ir.Run{Kernel: abi.BlockShares, Grid: [3]ir.Expr{ir.Name("rows"), ir.Name("score_heads"), ir.N(1)}, Args: args}
}
