package irtest

import (
	"math/rand/v2"
	"slices"

	"github.com/minfc/minfc/ir"
)

// dynamicIndex is an index stage with two choices of each kind. Its budgets do not matter to RandomSelection.
const dynamicIndex = `pattern index
  index logits = probe last 64
  index probs = softmax logits
  index heat = sum probs over queries
  index trace = sum probs over diagonals
  index mq = pool mean q
  index mk = pool mean k
  index scores = blocks mq mk
  index wq = pool max q over 128
  index wide = blocks wq mk
  index cols = top 40 from heat first 1
  index cols2 = top 10 from heat
  index diags = top 40 from trace first 1
  index diags2 = top 10 from trace
  index best = top 3 from scores last 1
  index best2 = top 2 from wide
  keep
    all
`

// RandomDynamic returns a causal pattern that passes Verify and keeps chosen sets beside others. About one in ten combines
// them in a way that no schedule can.
func RandomDynamic(rng *rand.Rand) *ir.Pattern {
	p := RandomPattern(rng)
	index, err := ir.ParsePattern(dynamicIndex)
	if err != nil {
		panic("irtest: " + err.Error())
	}
	p.Index = index.Index
	g := &generator{rng: rng, params: p.Params, chosen: []ir.Chosen{
		{Name: "cols"}, {Name: "cols2"},
		{Name: "diags", Kind: ir.ChosenDistances}, {Name: "diags2", Kind: ir.ChosenDistances},
		{Name: "best", Kind: ir.ChosenBlocks}, {Name: "best2", Kind: ir.ChosenBlocks},
	}}
	p.Keep = g.legal(func() ir.Set { return ir.Intersect{Sets: []ir.Set{ir.Causal{}, g.dynamic(1 + rng.IntN(3))}} }).Keep
	return p
}

// dynamic draws a set with chosen sets among its leaves: mostly one of them in an intersection, and none taken away.
func (g *generator) dynamic(depth int) ir.Set {
	if depth == 0 {
		if g.rng.IntN(3) > 0 {
			return g.chosen[g.rng.IntN(len(g.chosen))]
		}
		return g.primitive()
	}
	often := func(depth int) ir.Set {
		if g.rng.IntN(12) == 0 {
			return g.dynamic(depth)
		}
		return g.set(depth)
	}
	switch g.rng.IntN(8) {
	case 0:
		return ir.Minus{Left: g.dynamic(depth - 1), Right: often(depth - 1)}
	case 1, 2:
		return ir.Intersect{Sets: []ir.Set{g.dynamic(depth - 1), often(depth - 1)}}
	default:
		var out []ir.Set
		for range 2 + g.rng.IntN(3) {
			out = append(out, g.dynamic(depth-1))
		}
		return ir.Union{Sets: out}
	}
}

// RandomSelection returns what an index stage like this one might choose for one head, from what is forced to everything.
// Forced numbers are constants.
func RandomSelection(rng *rand.Rand, index []ir.IndexDef, shape ir.Shape) *ir.Selection {
	out := &ir.Selection{QOffset: shape.QOffset}
	for _, d := range index {
		choice, ok := d.Value.(ir.Select)
		if !ok {
			continue
		}
		first, _ := choice.First.Const()
		last, _ := choice.Last.Const()
		kind, _ := ir.IndexType(index, d.Name)
		chosen, _ := kind.Chosen()
		s := ir.Selected{Name: d.Name, Kind: chosen}
		switch end := shape.QOffset + shape.Sq; chosen {
		case ir.ChosenColumns:
			s.Members = members(rng, min(shape.Sk, end), int(first), int(last))
		case ir.ChosenDistances:
			s.Members = distances(rng, end, int(first), int(last), ir.RunSize(index, d.Name, nil))
		case ir.ChosenBlocks:
			s.Blocks = rowBlocks(rng, shape, int(first), int(last))
		}
		out.Sets = append(out.Sets, s)
	}
	return out
}

// distances draws members of 0..n-1, or whole runs of them.
func distances(rng *rand.Rand, n, first, last, run int) []int {
	if run == 1 {
		return members(rng, n, first, last)
	}
	return ir.DistancesOf(members(rng, (n+run-1)/run, first, last), run, n)
}

// members draws some of 0..n-1, ascending: scattered ones and neighbours, and the first and last ones that are forced.
func members(rng *rand.Rand, n, first, last int) []int {
	share := []float64{0, 0.003, 0.03, 0.3, 1}[rng.IntN(5)]
	var out []int
	near := 0
	for i := range n {
		if rng.Float64() < share/2 {
			near = rng.IntN(150)
		}
		if i < first || i >= n-last || near > 0 && rng.IntN(3) > 0 || rng.Float64() < share {
			out = append(out, i)
		}
		near--
	}
	return out
}

func rowBlocks(rng *rand.Rand, shape ir.Shape, forcedFirst, forcedLast int) [][]int {
	var out [][]int
	for first := 0; first < shape.Sq; first += ir.BlockSize {
		last := shape.QOffset + min(first+ir.BlockSize, shape.Sq) - 1
		blocks := members(rng, min(last/ir.BlockSize+1, (shape.Sk+ir.BlockSize-1)/ir.BlockSize), forcedFirst, forcedLast)
		slices.Reverse(blocks)
		out = append(out, blocks)
	}
	return out
}
