package selfcheck

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
)

// ChoiceCase is what the index stage of a finished call chose.
type ChoiceCase struct {
	In      *qkv.Input
	Index   []ir.IndexDef
	Indexes [][]ir.IndexDef // the same for each head, [QHeads], where they differ; replaces Index
	// Values of all parameters: one set for all heads, or [QHeads].
	Values []map[string]int64
	Scale  float64
	Asked  []*ir.Selection // [Batch * QHeads], as the device chose; nil for heads that nothing was chosen for
	// Parts are the parts of the call that heads ran in, [QHeads], as PartOf names them; nil: all ran in one. Heads of a part make choices by group
	// together.
	Parts []string

	Progress func(done, total int) // query heads that are compared; nil if nobody watches
}

// ChoiceReport compares choices with the choices of the float64 reference.
type ChoiceReport struct {
	Members int    // chosen by the reference
	Ties    int    // others chosen instead, which are worth the same up to rounding
	Wrong   int    // others chosen instead, too many or too few
	Worst   string // where the first wrong one is
}

// MaxWrong is the share of choices that rounding may change beyond ties.
const MaxWrong = 1e-3

// Values are float32 sums of probabilities, or float32 products: these differences from float64 are rounding.
const (
	valueTie   = 1e-4  // relative, of sums of probabilities
	tinyTie    = 1e-30 // absolute: float32 has nothing between this and 0
	productTie = 1e-5  // of block scores, relative to the largest one of the row block
	shareTie   = 1e-3  // of shares of blocks, relative: exponentials of scores
	massTie    = 1e-4  // of the mass that a share of all is about, relative to all
)

// OK says whether the choices agree.
func (r *ChoiceReport) OK() bool { return float64(r.Wrong) <= MaxWrong*float64(r.Members) }

// Agreement is the share of choices that are the reference's, ties included.
func (r *ChoiceReport) Agreement() float64 {
	if r.Members == 0 {
		return 1
	}
	return 1 - float64(r.Wrong)/float64(r.Members)
}

// String is the report in one line.
func (r *ChoiceReport) String() string {
	s := fmt.Sprintf("%.4g %% of %d choices of the data agree with float64 (limit %.4g %%), %d of them ties", 100*r.Agreement(), r.Members, 100*(1-MaxWrong), r.Ties)
	if r.Worst != "" {
		s += ", first other one: " + r.Worst
	}
	return s
}

// CompareChoices evaluates the index stage of every head in float64.
func CompareChoices(c ChoiceCase) (*ChoiceReport, error) {
	r := &ChoiceReport{}
	in := c.In
	if in.SeqQ == 0 { // nothing ran
		return r, nil
	}
	for h := range in.Batch * in.QHeads {
		if c.Asked[h] == nil {
			continue
		}
		group, err := c.group(h)
		if err != nil {
			return nil, err
		}
		head := group[slices.Index(c.sharers(h), h)]
		for _, other := range group {
			head.Group = append(head.Group, other.Q)
		}
		values := c.Values[h%in.QHeads%len(c.Values)]
		index := c.Index
		if c.Indexes != nil {
			index = c.Indexes[h%in.QHeads]
		}
		want, from, err := ir.EvalIndexValues(index, values, head)
		if err != nil {
			return nil, fmt.Errorf("internal: %w", err)
		}
		rules, err := rulesOf(index, values)
		if err != nil {
			return nil, fmt.Errorf("internal: %w", err)
		}
		for _, s := range want.Sets {
			got, err := c.Asked[h].Find(s.Name)
			if err != nil {
				return nil, fmt.Errorf("internal: %w", err)
			}
			rule := rules[s.Name]
			heads := group
			if !rule.byGroup {
				heads = []ir.HeadInputs[float32]{head}
			}
			rule.ranges = func() ranges { return valueRanges(index, s.Name, values, heads) }
			rule.alike = alike(index, s.Name, values, heads)
			rule.run, rule.end = ir.RunSize(index, s.Name, values), head.QOffset+head.Sq
			r.set(fmt.Sprintf("batch %d, head %d, %s", h/in.QHeads, h%in.QHeads, s.Name), rule, s, *got, from[s.Name])
		}
		if c.Progress != nil {
			c.Progress(h+1, in.Batch*in.QHeads)
		}
	}
	return r, nil
}

// sharers are the heads that make choices by group with head h, its own among them; all are counted over batches.
func (c ChoiceCase) sharers(h int) (heads []int) {
	group := c.In.QHeads / c.In.KVHeads
	for other := h / group * group; other < (h/group+1)*group; other++ {
		if c.Asked[other] != nil && (c.Parts == nil || c.Parts[other%c.In.QHeads] == c.Parts[h%c.In.QHeads]) {
			heads = append(heads, other)
		}
	}
	return heads
}

// group are the inputs of the heads that make choices by group with head h.
func (c ChoiceCase) group(h int) (out []ir.HeadInputs[float32], err error) {
	for _, other := range c.sharers(h) {
		in, err := c.inputs(other)
		if err != nil {
			return nil, err
		}
		out = append(out, in)
	}
	return out, nil
}

// PartOf names the part of a call that a head runs in: its pattern, and the parameters that are no budgets.
func PartOf(p *ir.Pattern, values map[string]int64) string {
	rest := maps.Clone(values)
	for _, name := range p.Budgets() {
		delete(rest, name)
	}
	return fmt.Sprint(p, rest)
}

// inputs are q and k of head h, counted over batches.
func (c ChoiceCase) inputs(h int) (ir.HeadInputs[float32], error) {
	in := c.In
	out := ir.HeadInputs[float32]{Sq: in.SeqQ, Sk: in.SeqK, D: in.HeadDim, QOffset: in.QOffset, Scale: c.Scale}
	kv := h/in.QHeads*in.KVHeads + h%in.QHeads/(in.QHeads/in.KVHeads)
	for _, part := range []struct {
		to       *[]float32
		from     []byte
		head, sq int
	}{{&out.Q, in.Q, h, in.SeqQ}, {&out.K, in.K, kv, in.SeqK}} {
		n := part.sq * in.HeadDim
		*part.to = make([]float32, n)
		if err := half.Decode(in.Format, *part.to, part.from[2*n*part.head:][:2*n]); err != nil {
			return out, err
		}
	}
	return out, nil
}

// set compares what one Select chose for one head.
func (r *ChoiceReport) set(where string, rule choiceRule, want, got ir.Selected, from ir.IndexValues) {
	if want.Kind != ir.ChosenBlocks {
		r.flat(where, rule, want.Members, got.Members, from[0])
		return
	}
	for t := range max(len(want.Blocks), len(got.Blocks)) {
		at := fmt.Sprintf("%s, row block %d", where, t)
		if t >= len(want.Blocks) || t >= len(got.Blocks) {
			r.wrong(1, at+" is missing")
			continue
		}
		scale := 0.0
		for _, x := range from[t] {
			if !math.IsInf(x, 0) {
				scale = max(scale, math.Abs(x))
			}
		}
		tie := func(a, b float64) bool { return math.Abs(b-a) <= productTie*scale }
		if rule.shares {
			tie = relativeTie(shareTie)
		}
		r.members(at, rule, want.Blocks[t], got.Blocks[t], from[t], tie)
	}
}

// flat compares columns or distances; chosen runs of distances are compared as runs.
func (r *ChoiceReport) flat(where string, rule choiceRule, want, got []int, from []float64) {
	if rule.run > 1 {
		runs, whole := ir.RunsOf(got, rule.run, rule.end)
		if !whole {
			r.Members += len(want)
			r.wrong(max(1, len(got)), fmt.Sprintf("%s: the %d distances are not whole runs of %d", where, len(got), rule.run))
			return
		}
		want, _ = ir.RunsOf(want, rule.run, rule.end)
		got = runs
	}
	r.members(where, rule, want, got, from, relativeTie(valueTie))
}

// relativeTie says whether two values differ by rounding only.
func relativeTie(part float64) func(a, b float64) bool {
	return func(a, b float64) bool { return math.Abs(b-a) <= part*math.Abs(b)+tinyTie }
}

// choiceRule is how a Select decides, in numbers.
type choiceRule struct {
	rule    ir.Rule
	n       float64             // its budget, in units
	shares  bool                // of shares of blocks
	byGroup bool                // from means over the heads of a group
	alike   func(a, b int) bool // says whether kernels add up the same numbers for both members: the smaller one wins
	ranges  func() ranges       // what float32 leaves open of the values, where that is more than ties
	run     int                 // neighbouring distances that are one member; 1 of anything else
	end     int                 // distances that there are
}

// rulesOf reads the rule of every Select.
func rulesOf(index []ir.IndexDef, values map[string]int64) (map[string]choiceRule, error) {
	out := map[string]choiceRule{}
	for _, d := range index {
		if s, ok := d.Value.(ir.Select); ok {
			n, err := s.N.At(values, 0)         // only a number of members depends on the length
			if err != nil && s.Rule != ir.Top { // too large a number is all there are
				return nil, err
			}
			kind, _ := ir.IndexType(index, s.Of)
			out[d.Name] = choiceRule{rule: s.Rule, n: float64(n), shares: kind == ir.KindBlockShares, byGroup: s.ByGroup, ranges: noRanges, alike: notAlike}
		}
	}
	return out, nil
}

// atTheEdge says whether rounding decides if members belong to a set chosen from all values, beside the smaller set, which both agree on. A set
// that holds its share of the mass but for rounding may have one member more, however large that is: the one that makes it hold the share.
func (c choiceRule) atTheEdge(members, smaller []int, values []float64, tie func(a, b float64) bool) bool {
	switch c.rule {
	case ir.TopP:
		open := massTie * sum(values)
		short := c.n/1000*sum(values) - mass(smaller, values)
		return mass(members, values) <= open || len(members) == 1 && math.Abs(short) <= open
	case ir.Above:
		return !slices.ContainsFunc(members, func(i int) bool { return !tie(valueOf(values, i), c.n/1e6) })
	case ir.NearMax:
		near := c.fraction() * slices.Max(values)
		return !slices.ContainsFunc(members, func(i int) bool { return !tie(valueOf(values, i), near) })
	default:
		return false
	}
}

// mayEnd says the same for values that are anything in their ranges.
func (c choiceRule) mayEnd(members []int, values []float64, r ranges) bool {
	switch {
	case r.low == nil:
		return false
	case c.rule == ir.TopP: // how far the ranges move the mass of the others
		return mass(members, values) <= massTie*sum(values)+sum(r.high)-sum(r.low)
	case c.rule == ir.Above:
		return !slices.ContainsFunc(members, func(i int) bool { return !(valueOf(r.low, i) <= c.n/1e6 && c.n/1e6 <= valueOf(r.high, i)) })
	case c.rule == ir.NearMax: // of the largest value, which may be any in its range, too
		low, high := c.fraction()*slices.Max(r.low), c.fraction()*slices.Max(r.high)
		return !slices.ContainsFunc(members, func(i int) bool { return !(valueOf(r.low, i) <= high && low <= valueOf(r.high, i)) })
	default:
		return false
	}
}

// fraction is the share of the largest value that a NearMax asks for.
func (c choiceRule) fraction() float64 { return min(c.n, 1000) / 1000 }

func mass(members []int, values []float64) (total float64) {
	for _, i := range members {
		total += valueOf(values, i)
	}
	return total
}

func sum(values []float64) (total float64) {
	for _, x := range values {
		total += x
	}
	return total
}

func (r *ChoiceReport) wrong(n int, where string) {
	if r.Wrong == 0 && n > 0 {
		r.Worst = where
	}
	r.Wrong += n
}

// members compares two sets. What only one of them has is paired by value, best with best: pairs of equal value are ties. So
// is what remains, if the rule ends there but for rounding.
func (r *ChoiceReport) members(where string, rule choiceRule, want, got []int, values []float64, tie func(a, b float64) bool) {
	r.Members += len(want)
	missing, extra := onlyIn(want, got, values), onlyIn(got, want, values)
	n := min(len(missing), len(extra))
	wide := sync.OnceValue(rule.ranges)
	for i, e := range extra[:n] {
		m := missing[i]
		a, b := valueOf(values, e), valueOf(values, m)
		switch {
		case a == b && e > m && rule.alike(e, m):
			r.wrong(1, fmt.Sprintf("%s: %d in place of %d, which is worth the same (%g) and comes first", where, e, m, b))
		case a == b || tie(a, b) || wide().mayExceed(e, m):
			r.Ties++
		default:
			r.wrong(1, fmt.Sprintf("%s: %d (worth %g) in place of %d (%g)", where, e, a, m, b))
		}
	}
	rest, smaller := slices.Concat(missing[n:], extra[n:]), want
	if len(missing) > n {
		smaller = got
	}
	if len(rest) > 0 && (rule.atTheEdge(rest, smaller, values, tie) || rule.mayEnd(rest, values, wide())) {
		r.Ties += len(rest)
		return
	}
	r.wrong(len(rest), fmt.Sprintf("%s: %d chosen, want %d", where, len(got), len(want)))
}

// valueOf is NaN, which ties with nothing, for members that there cannot be.
func valueOf(values []float64, i int) float64 {
	if i < 0 || i >= len(values) {
		return math.NaN()
	}
	return values[i]
}

// onlyIn are the members of a that b lacks, best first.
func onlyIn(a, b []int, values []float64) []int {
	in := map[int]bool{}
	for _, x := range b {
		in[x] = true
	}
	out := slices.DeleteFunc(slices.Clone(a), func(x int) bool { return in[x] })
	slices.SortStableFunc(out, func(x, y int) int { return cmp.Compare(valueOf(values, y), valueOf(values, x)) })
	return out
}
