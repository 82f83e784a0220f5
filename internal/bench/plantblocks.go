package bench

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/internal/suggest"
	"github.com/minfc/minfc/ir"
)

// BlockSharing is what neighbouring row blocks have in common in planted lists of blocks. Published figures differ in it, and
// kernels profit from it differently.
type BlockSharing string

const (
	BlocksApart BlockSharing = "apart" // nothing but by chance
	BlocksHalf  BlockSharing = "half"  // every second row block has half of the blocks of the one before
	BlocksWide  BlockSharing = "wide"  // everything: lists are of blocks of 128x128, so that two row blocks share pairs of neighbours
)

// BlockSharings lists them, the default first.
func BlockSharings() []string {
	return []string{string(BlocksApart), string(BlocksHalf), string(BlocksWide)}
}

func (b BlockSharing) check() error {
	if b == "" || slices.Contains(BlockSharings(), string(b)) {
		return nil
	}
	return fmt.Errorf("planted blocks %q are not known, want one of %s%s", b, strings.Join(BlockSharings(), ", "), suggest.Hint(string(b), BlockSharings()))
}

// blocks plants the lists of all row blocks, each from the diagonal down.
func (p *planter) blocks(b budget, n int) [][]int {
	var out [][]int
	for t := range (n + ir.BlockSize - 1) / ir.BlockSize {
		var list []int
		switch {
		case p.sharing == BlocksHalf && t%2 == 1:
			list = p.half(b.clamp(t+1), t+1, out[t-1])
		case p.sharing == BlocksWide && t%2 == 1:
			list = p.wide
		case p.sharing == BlocksWide:
			list = p.wideBlocks(b, t/2)
		default:
			list = p.anywhere(b.clamp(t+1), t+1)
		}
		list = slices.DeleteFunc(slices.Clone(list), func(x int) bool { return x > t }) // the upper half of a wide diagonal block
		slices.SortFunc(list, func(x, y int) int { return y - x })
		out = append(out, list)
	}
	return out
}

// half draws members of 0..n-1: the forced ones, half of the others from a neighbour's members, the rest anywhere.
func (p *planter) half(b budget, n int, neighbour []int) []int {
	p.draw++
	out := p.forced(b, n)
	add := func(x int) {
		if p.seen[x] != p.draw {
			p.seen[x] = p.draw
			out = append(out, x)
		}
	}
	for _, i := range p.rng.Perm(len(neighbour)) {
		if len(out) < b.n/2 {
			add(neighbour[i])
		}
	}
	for len(out) < b.n {
		add(p.rng.IntN(n))
	}
	return out
}

// wideBlocks draws half as many blocks of 128x128 of row t as the budget has blocks, and keeps their halves for both row blocks.
func (p *planter) wideBlocks(b budget, t int) []int {
	b = budget{n: b.n / 2, first: (b.first + 1) / 2, last: (b.last + 1) / 2}
	p.wide = nil
	for _, x := range p.anywhere(b.clamp(t+1), t+1) {
		p.wide = append(p.wide, 2*x, 2*x+1)
	}
	return p.wide
}
