package ir

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Select chooses from values: over columns, over distances, over runs of distances, or over key blocks per query block. Ties go to the
// smaller column, distance, run or block; sums whose terms are equal row by row tie. First and Last force that many members at either end
// (columns: the first keys; distances: the nearest; blocks: Last is the diagonal block and the blocks before it); forced ones count within
// the budget.
// Where the rule would choose fewer than Least, the Least largest are chosen, and where more than Most, the Most largest stay, forced ones
// before all. Most wins where it is smaller. Numbers count runs where runs are chosen.
// ByGroup makes one choice for all query heads of a kv head that take part: from the mean of their values (indexgroup.go).
// Type: chosen columns, distances or blocks; of runs: chosen distances.
type Select struct {
	Of          string
	Rule        Rule
	N           Number // Top: how many; of other rules a Poly. TopP: mass in thousandths. Above: threshold in millionths. NearMax: thousandths of the largest value
	First, Last Poly
	Least, Most Number // nil: no limit
	ByGroup     bool
}

// Rule is how Select decides.
type Rule uint8

const (
	Top     Rule = iota // the N largest
	TopP                // the largest until they hold the share of all mass
	Above               // all above a threshold
	NearMax             // all that have a mass and are at least a share of the largest value, forced members' included
)

var ruleWords = []string{Top: "top", TopP: "mass", Above: "above", NearMax: "near"}

// Word is asked for by no pattern: no value is computed from a choice.
func (Select) Word() string         { return "part" }
func (x Select) Operands() []string { return []string{x.Of} }

func (x Select) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s from %s", wordOf(ruleWords, int(x.Rule)), x.N, x.Of)
	if !x.First.Equal(Poly{}) {
		fmt.Fprintf(&b, " first %s", x.First)
	}
	if !x.Last.Equal(Poly{}) {
		fmt.Fprintf(&b, " last %s", x.Last)
	}
	if x.Least != nil {
		fmt.Fprintf(&b, " least %s", x.Least)
	}
	if x.Most != nil {
		fmt.Fprintf(&b, " most %s", x.Most)
	}
	if x.ByGroup {
		b.WriteString(" by group")
	}
	return b.String()
}

func (c *cursor) selection(rule Rule) Index {
	s := Select{Rule: rule, N: c.count()}
	c.expect("from")
	s.Of = c.name()
	if c.accept("first") {
		s.First = c.poly()
	}
	if c.accept("last") {
		s.Last = c.poly()
	}
	if c.accept("least") {
		s.Least = c.count()
	}
	if c.accept("most") {
		s.Most = c.count()
	}
	if s.ByGroup = c.accept("by"); s.ByGroup {
		c.expect("group")
	}
	return s
}

// selected is what choosing from values of a kind gives.
var selected = map[IndexKind]IndexKind{
	KindColumnValues: KindColumns, KindDistanceValues: KindDistances, KindRunValues: KindDistances,
	KindBlockValues: KindBlocks, KindBlockShares: KindBlocks,
}

func (x Select) typed(kinds map[string]IndexKind) (IndexKind, error) {
	of, known := kinds[x.Of]
	kind, ok := selected[of]
	switch {
	case !known:
		return 0, fmt.Errorf("%q is not defined before it", x.Of)
	case !ok:
		return 0, fmt.Errorf("%q is %s, want values over columns, distances or blocks", x.Of, of)
	case x.Rule > NearMax:
		return 0, fmt.Errorf("unknown rule %d", x.Rule)
	case x.N == nil:
		return 0, fmt.Errorf("a choice by the rule %s has no number", ruleWords[x.Rule])
	case x.Rule == Top && x.Least != nil:
		return 0, fmt.Errorf("a choice of a number has a least number beside it, which says nothing")
	case x.Rule != Top && of == KindBlockValues:
		return 0, fmt.Errorf("block scores are no shares of a whole, so that only the number of blocks can be chosen, not %s; take their softmax",
			ruleWords[x.Rule])
	}
	if _, poly := x.N.(Poly); x.Rule != Top && !poly {
		return 0, fmt.Errorf("the number of the rule %s is %s, want one that depends on parameters alone", ruleWords[x.Rule], x.N)
	}
	for _, n := range []Number{x.N, x.Least, x.Most} {
		if err := verifyNumber(n); err != nil {
			return 0, err
		}
	}
	return kind, nil
}

func (x Select) mapPolys(f func(Poly) Poly) Index {
	x.First, x.Last = f(x.First), f(x.Last)
	x.N, x.Least, x.Most = mapNumber(x.N, f), mapNumber(x.Least, f), mapNumber(x.Most, f)
	return x
}

func (x Select) numbers() indexNumbers {
	out := indexNumbers{others: []Poly{x.First, x.Last}}
	for _, n := range []Number{x.N, x.Least, x.Most} {
		switch n := n.(type) {
		case nil:
		case Poly:
			out.budgets = append(out.budgets, n)
		default:
			out.parts = append(out.parts, leaves(n)...)
		}
	}
	return out
}

// BudgetNames are the parameters that the choice's numbers depend on, what is forced aside.
func (x Select) BudgetNames() []string {
	n := x.numbers()
	return addVars(addVars(nil, n.budgets), n.parts)
}

// eval leaves what is chosen with the selection; no definition is computed from it.
func (x Select) eval(e *indexEval) (any, error) {
	c := choice{rule: x.Rule, most: math.MaxInt}
	for _, number := range []struct {
		to *int
		Number
	}{{&c.n, x.N}, {&c.first, x.First}, {&c.last, x.Last}, {&c.least, x.Least}, {&c.most, x.Most}} {
		if number.Number == nil {
			continue
		}
		v, err := number.At(e.values, min(e.sk, e.offset+e.sq))
		if err != nil {
			return nil, err
		}
		*number.to = int(v)
	}
	s := Selected{Name: e.name}
	values, err := e.chosenFrom(x)
	if err != nil {
		return nil, err
	}
	switch of := values.(type) {
	case sums:
		s.Kind, s.Members = of.kind, of.members(c.from(of.values))
	case blockScores:
		s.Kind = ChosenBlocks
		s.Blocks = make([][]int, len(of))
		inParallel(len(of), manySorts, func(t int) {
			s.Blocks[t] = c.from(of[t])
			slices.Reverse(s.Blocks[t])
		})
	default:
		return nil, fmt.Errorf("internal: a choice from %T", of)
	}
	e.out.Sets = append(e.out.Sets, s)
	return nil, nil
}

// choice is a Select with numbers for its parameters.
type choice struct {
	rule           Rule
	n, first, last int
	least, most    int
}

// Units of the numbers of a Select.
const (
	massUnit      = 1e3
	thresholdUnit = 1e6
)

// from chooses among values by their index and returns the indices in ascending order.
func (c choice) from(values []float64) []int {
	n := len(values)
	first, last := min(c.first, n), max(n-c.last, 0)
	forced := func(i int) bool { return i < first || i >= last }
	var out, free []int
	for i := range values {
		if forced(i) {
			out = append(out, i)
		} else {
			free = append(free, i)
		}
	}
	slices.SortStableFunc(free, func(a, b int) int { return cmp.Compare(values[b], values[a]) })
	more := max(c.count(values, out, free), c.least-len(out))
	out = append(out, free[:max(min(more, c.most-len(out), len(free)), 0)]...)
	slices.Sort(out)
	return out
}

// count is how many of free, sorted by falling value, join the forced members.
func (c choice) count(values []float64, forced, free []int) int {
	switch c.rule {
	case Top:
		return min(max(c.n-len(forced), 0), len(free))
	case TopP:
		return countMass(values, forced, free, float64(c.n)/massUnit)
	case NearMax:
		return countNear(values, free, float64(min(c.n, massUnit))/massUnit)
	default:
		n := 0
		for n < len(free) && values[free[n]] > float64(c.n)/thresholdUnit {
			n++
		}
		return n
	}
}

// countNear is how many of free are at least the share of the largest of all values. What has no mass never is.
func countNear(values []float64, free []int, share float64) int {
	n, largest := 0, 0.0
	for _, x := range values {
		largest = max(largest, x)
	}
	for n < len(free) && values[free[n]] > 0 && values[free[n]] >= share*largest {
		n++
	}
	return n
}

// countMass is how many of free must join forced to hold the share of the sum of all values. What has no mass never joins.
func countMass(values []float64, forced, free []int, share float64) int {
	total, have := 0.0, 0.0
	for _, x := range values {
		total += x
	}
	for _, i := range forced {
		have += values[i]
	}
	n := 0
	for n < len(free) && have < share*total && values[free[n]] > 0 {
		have += values[free[n]]
		n++
	}
	return n
}
