package passes

import (
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// squareScores are the shares of blocks in the antidiagonals of their squares, of fold by fold.
type squareScores struct{ fold int64 }

func (b *programBuilder) readSquares(of string, c *choice) bool {
	sum, _ := defined[ir.Sum](b, of)
	soft, _ := defined[ir.Softmax](b, sum.Of)
	squares, ok := defined[ir.Antidiagonals](b, soft.Of)
	c.scores = squareScores{int64(squares.Step)}
	return ok
}

func (s squareScores) size(byGroup bool) scoreSize {
	size := scoreSize{rows: ir.BlockSize / int(s.fold), values: 2, shares: 1}
	if byGroup {
		size.groupShares = 1
	}
	return size
}

func (squareScores) meansOfQueries(bool) bool { return false }

func (squareScores) before(*programBuilder, bool) (all, slice []ir.Step) { return nil, nil }

func (squareScores) buffers(b *programBuilder) {
	pad := ir.Name("scores_pad")
	b.buffer("score_sums", "f32", true, ir.Name("scored_heads"), slabRows, ir.Name("score_rows"), pad)
	b.buffer("shares", "f32", true, ir.Name("scored_heads"), slabRows, pad)
}

// work: a pair of blocks takes 64*64/fold products.
func (s squareScores) work(b *programBuilder, _ bool, pairs func(heads ir.Expr) ir.Expr) {
	b.Work = append(b.Work, ir.Work{Unit: ir.WorkSquares, Amount: pairs(ir.Name("present")).Times(ir.N(ir.BlockSize * ir.BlockSize / s.fold))})
}

func (s squareScores) score(bool) (steps []ir.Step, values string) {
	sums := ir.AddressArg("sums", "score_sums", ir.N(0))
	rows := ir.N(ir.BlockSize / s.fold).Times(ir.Name("rows"))
	k := ir.Name("entry").Times(ir.Name("k_batch")).Plus(ir.Name("kv_scored").Times(ir.Name("k_head")))
	args := append(scoredHeads(true), slabArg, sums, ir.NumberArg("fold", ir.N(s.fold)), ir.FloatArg("scale", "scale_log2", s.fold),
		scoredQ("q"), ir.AddressArg("k", "k", k))
	grid := [3]ir.Expr{sk.Over(s.fold).Over(abi.SquareTile), rows.Over(abi.SquareTile), ir.Name("score_heads")}
	return []ir.Step{
		ir.Run{Kernel: abi.SquareScores, Grid: grid, Args: args},
		share(s.fold, s.fold, sums, "shares"),
	}, "shares"
}
