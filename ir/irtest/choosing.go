package irtest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/minfc/minfc/ir"
)

// RandomChoosing returns a pattern that passes Verify, whose index stage has values and rules of every form, and which keeps
// one to three chosen sets beside others, causal or not. Some patterns combine them in a way that kernels cannot.
func RandomChoosing(rng *rand.Rand) *ir.Pattern {
	for {
		if p := randomChoosing(rng); withinLimits(p, defaults(p)) {
			return p
		}
	}
}

func defaults(p *ir.Pattern) map[string]int64 {
	out := map[string]int64{}
	for _, x := range p.Params {
		out[x.Name] = x.Default
	}
	return out
}

func randomChoosing(rng *rand.Rand) *ir.Pattern {
	p := RandomPattern(rng)
	x := &choosing{generator: &generator{rng: rng, params: p.Params}}
	for _, kind := range x.kinds() {
		x.chosen = append(x.chosen, x.choose(kind))
	}
	p.Keep = x.bounded(x.keep())
	p.Index, p.Params = x.defs, append(p.Params, x.budgets...)
	return p
}

// choosing draws an index stage and sets of what it chose.
type choosing struct {
	*generator
	defs    []ir.IndexDef
	budgets []ir.Param
}

// define names a value. Equal values are computed once.
func (x *choosing) define(value ir.Index) string {
	text := ir.IndexDef{Value: value}.String()
	for _, d := range x.defs {
		if (ir.IndexDef{Value: d.Value}).String() == text {
			return d.Name
		}
	}
	name := fmt.Sprintf("i%d", len(x.defs))
	x.defs = append(x.defs, ir.IndexDef{Name: name, Value: value})
	return name
}

// kinds draws what the choices are of: often columns and distances, seldom columns twice, which kernels cannot list.
func (x *choosing) kinds() []ir.ChosenKind {
	columns, distances, blocks := ir.ChosenColumns, ir.ChosenDistances, ir.ChosenBlocks
	all := [][]ir.ChosenKind{
		{columns}, {distances}, {blocks}, {columns, distances}, {columns, distances}, {columns, distances}, {distances, columns},
		{columns, blocks},
		{distances, blocks}, {blocks, blocks}, {distances, distances}, {columns, distances, distances}, {columns, distances, blocks},
		{blocks, distances, blocks},
		{columns, columns},
	}
	return all[x.rng.IntN(len(all))]
}

// choose defines a choice by any rule, and the values that it needs.
func (x *choosing) choose(kind ir.ChosenKind) ir.Chosen {
	of, shares := x.values(kind)
	s := ir.Select{Of: of}
	if shares {
		s.Rule = ir.Rule(x.rng.IntN(int(ir.NearMax) + 1))
	}
	n := x.number(budgetNumbers[s.Rule])
	if s.N = n; s.Rule == ir.Top {
		s.N = x.ofLength(n)
	}
	s.First, s.Last = x.forced(kind), x.forced(kind)
	if x.rng.IntN(4) == 0 {
		s.Most = x.ofLength(x.number(budgetNumbers[ir.Top]))
	}
	if s.Rule != ir.Top && x.rng.IntN(4) == 0 {
		s.Least = x.ofLength(x.number(budgetNumbers[ir.Top]))
	}
	name := fmt.Sprintf("c%d", len(x.chosen))
	x.defs = append(x.defs, ir.IndexDef{Name: name, Value: s})
	return ir.Chosen{Name: name, Kind: kind}
}

// budgetNumbers are numbers of members, thousandths of the mass or of the largest value and millionths, small ones, numbers near the length or all
// mass, and larger ones.
var budgetNumbers = map[ir.Rule][]int64{
	ir.Top:   {0, 1, 2, 3, 7, 20, 31, 63, 64, 65, 100, 150, 200, 400, ir.MaxParam - 1, ir.MaxParam},
	ir.TopP:  {0, 1, 50, 200, 300, 500, 700, 900, 950, 999, 1000, 1001, ir.MaxParam},
	ir.Above: {0, 1, 100, 3000, 10_000, 30_000, 100_000, 300_000, 999_999, 1_000_000, 5_000_000, ir.MaxParam},

	ir.NearMax: {0, 1, 20, 100, 300, 500, 700, 900, 999, 1000, 1001, ir.MaxParam},
}

// number draws a constant, or a budget that a launch gives, alone or in a sum.
func (x *choosing) number(from []int64) ir.Poly {
	at := x.rng.IntN(len(from))
	if x.rng.IntN(3) == 0 {
		return ir.Int(from[at])
	}
	b := ir.Param{Name: fmt.Sprintf("n%d", len(x.budgets)), Default: from[at]}
	x.budgets = append(x.budgets, b)
	if small := from[:len(from)*3/4]; x.rng.IntN(4) == 0 {
		x.budgets[len(x.budgets)-1].Default = small[x.rng.IntN(len(small))]
		return ir.Var(b.Name).Add(ir.Int(int64(x.rng.IntN(5))))
	}
	return ir.Var(b.Name)
}

// ofLength leaves most numbers as they are, and draws others from them that depend on the length or divide, too.
func (x *choosing) ofLength(n ir.Poly) ir.Number {
	if x.rng.IntN(8) > 1 {
		return n
	}
	by := ir.Int(pickOne(x.rng, []int64{1, 2, 3, 8, 16, 100}))
	of := ir.Number(ir.Operation{Op: ir.OpFloorDiv, X: ir.KeyCount{}, Y: by})
	switch x.rng.IntN(6) {
	case 0:
		return of
	case 1:
		return ir.Operation{Op: ir.OpFloorDiv, X: n, Y: by}
	case 2:
		return ir.Operation{Op: ir.OpSub, X: of, Y: n}
	case 3:
		return ir.Operation{Op: ir.OpAdd, X: ir.Operation{Op: ir.OpMul, X: ir.Int(3), Y: of}, Y: n}
	default:
		return ir.Operation{Op: pickOne(x.rng, []ir.ExprOp{ir.OpMin, ir.OpMax}), X: n, Y: of}
	}
}

// forced draws how many members are chosen in any case.
func (x *choosing) forced(kind ir.ChosenKind) ir.Poly {
	most := 70
	if kind == ir.ChosenBlocks {
		most = 4
	}
	switch x.rng.IntN(6) {
	case 0, 1:
		return ir.Int(int64(1 + x.rng.IntN(most)))
	case 2:
		b := ir.Param{Name: fmt.Sprintf("n%d", len(x.budgets)), Default: int64(x.rng.IntN(3))}
		x.budgets = append(x.budgets, b)
		return ir.Var(b.Name)
	default:
		return ir.Poly{}
	}
}

// values defines what a kind is chosen from, and says whether it can be a share of a whole.
func (x *choosing) values(kind ir.ChosenKind) (name string, shares bool) {
	switch {
	case kind == ir.ChosenColumns:
		return x.define(ir.Sum{Of: x.probabilities(), Over: ir.OverQueries}), true
	case kind == ir.ChosenDistances && x.rng.IntN(8) < 3:
		run := ir.Int(int64(ir.RunUnit * (1 + x.rng.IntN(ir.MostRun/ir.RunUnit))))
		return x.define(ir.Sum{Of: x.probabilities(), Over: ir.OverRuns, Run: run}), true
	case kind == ir.ChosenDistances:
		return x.define(ir.Sum{Of: x.probabilities(), Over: ir.OverDiagonals}), true
	case x.rng.IntN(2) == 0:
		squares := x.define(ir.Antidiagonals{Step: 2 << x.rng.IntN(6)})
		return x.define(ir.Sum{Of: x.define(ir.Softmax{Of: squares}), Over: ir.OverBlocks}), true
	}
	q, k := x.define(x.pool(ir.TensorQ)), x.define(x.pool(ir.TensorK))
	name = x.define(ir.BlockScores{Q: q, K: k})
	if x.rng.IntN(2) == 0 {
		return name, false
	}
	return x.define(ir.Softmax{Of: name}), true
}

// pool draws a pool of a tensor, with any reduction and any number of rows.
func (x *choosing) pool(of ir.Tensor) ir.Pool {
	return ir.Pool{Of: of, With: ir.Reduction(x.rng.IntN(2)), Rows: pickOne(x.rng, ir.PoolRows)}
}

// probabilities defines the probabilities of the last queries, or of queries in equal steps; half of the time a probe serves two choices.
func (x *choosing) probabilities() string {
	last := slices.IndexFunc(x.defs, func(d ir.IndexDef) bool { _, is := d.Value.(ir.Probe); return is })
	if last >= 0 && x.rng.IntN(2) == 0 {
		return x.define(ir.Softmax{Of: x.defs[last].Name})
	}
	n := ir.Int(pickOne(x.rng, []int64{1, 2, 5, 16, 33, 63, 64, 64, 64, 65, 100, 128, 200, 500}))
	if len(x.params) > 0 && x.rng.IntN(5) == 0 {
		n = x.variable().Add(ir.Int(1))
	}
	probe := ir.Probe{Last: &n}
	if x.rng.IntN(4) == 0 {
		probe = ir.Probe{Stride: &n}
	}
	return x.define(ir.Softmax{Of: x.define(probe)})
}

func pickOne[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// keep combines the chosen sets: side by side, apart by a band that only one of them may lie in, or in any way at all.
func (x *choosing) keep() ir.Set {
	if x.rng.IntN(10) == 0 {
		return x.dynamic(1 + x.rng.IntN(2))
	}
	var out []ir.Set
	for i, c := range x.chosen {
		apart := i > 0 && x.rng.IntN(10) > 0
		if i > 0 && overlap(x.chosen[i-1], c) {
			apart = x.rng.IntN(4) == 0
		}
		if apart {
			band := x.band()
			out = append(out[:i-1], ir.Minus{Left: out[i-1], Right: band}, ir.Intersect{Sets: []ir.Set{c, band}})
			continue
		}
		out = append(out, x.cut(c))
	}
	for range x.rng.IntN(5) / 2 {
		out = append(out, x.primitive())
	}
	x.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return ir.Union{Sets: out}
}

// overlap says whether kernels can keep the pairs that two chosen sets have in common once.
func overlap(a, b ir.Chosen) bool {
	return a.Kind != b.Kind && a.Kind != ir.ChosenBlocks && b.Kind != ir.ChosenBlocks
}

// cut leaves a chosen set whole, or takes a part of it.
func (x *choosing) cut(c ir.Set) ir.Set {
	switch x.rng.IntN(8) {
	case 0, 1:
		return ir.Intersect{Sets: []ir.Set{c, x.band()}}
	case 2:
		return ir.Minus{Left: c, Right: x.band()}
	default:
		return c
	}
}

// band draws a set without steps.
func (x *choosing) band() ir.Set {
	one, wide := ir.Int(1), ir.Int(int64(x.rng.IntN(200)))
	switch x.rng.IntN(6) {
	case 0:
		return ir.Causal{}
	case 1:
		return ir.Window{Left: x.poly(), Right: x.poly()}
	case 2:
		return ir.Window{Left: wide}
	case 3:
		return ir.Sink{N: wide}
	case 4:
		return ir.Columns{From: x.poly(), To: x.end(), Step: one}
	default:
		return ir.Diagonals{From: x.poly(), To: x.end(), Step: one}
	}
}

// bounded cuts half of the sets to causal ones, some by another band, and leaves a third as they are.
func (x *choosing) bounded(s ir.Set) ir.Set {
	switch x.rng.IntN(12) {
	case 0, 1, 2, 3, 4, 5:
		return ir.Intersect{Sets: []ir.Set{ir.Causal{}, s}}
	case 6:
		return ir.Intersect{Sets: []ir.Set{s, x.band()}}
	case 7:
		return ir.Minus{Left: s, Right: x.primitive()}
	default:
		return s
	}
}

// RandomBudgets returns RandomValues with budgets from nothing to all there is, and with probability 1/2 other budgets for
// each of the heads of a launch: [parameter][heads].
func RandomBudgets(rng *rand.Rand, p *ir.Pattern, heads int) (map[string]int64, map[string][]int64) {
	for range 20 {
		values, byHead := RandomValues(rng, p), map[string][]int64{}
		own := rng.IntN(2) == 0
		for _, x := range p.Params {
			if !slices.Contains(p.Budgets(), x.Name) {
				continue
			}
			values[x.Name] = randomBudget(rng, x)
			for range heads {
				byHead[x.Name] = append(byHead[x.Name], randomBudget(rng, x))
			}
		}
		if !own {
			byHead = nil
		}
		if everyHeadWithinLimits(p, values, byHead, heads) {
			return values, byHead
		}
	}
	return defaults(p), nil
}

func everyHeadWithinLimits(p *ir.Pattern, values map[string]int64, byHead map[string][]int64, heads int) bool {
	own := maps.Clone(values)
	for h := range heads {
		for name, v := range byHead {
			own[name] = v[h]
		}
		if !withinLimits(p, own) {
			return false
		}
	}
	return withinLimits(p, values)
}

// randomBudget is often the default, which suits the rule.
func randomBudget(rng *rand.Rand, p ir.Param) int64 {
	switch rng.IntN(8) {
	case 0:
		return p.Min
	case 1:
		return p.Min + int64(rng.IntN(300))
	case 2:
		return max(p.Min, p.Default/2)
	case 3:
		return min(ir.MaxParam-8, max(p.Min, 2*p.Default+1))
	default:
		return p.Default
	}
}
