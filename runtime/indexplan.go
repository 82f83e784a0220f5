package runtime

import (
	"fmt"
	"slices"

	"github.com/minfc/minfc/ir"
)

// indexPlan is a schedule's index stage as devices compute it.
type indexPlan struct {
	probes     []indexProbe
	choices    []indexChoice
	headParams []string // launch parameters that may differ by head: budgets and nothing else
}

// indexChoice is one chosen set.
type indexChoice struct {
	source      ir.Source
	rule        ir.Rule
	n           ir.Poly  // how many, which share or which threshold
	most        *ir.Poly // how many at most
	first, last ir.Poly  // of them forced, at either end
	probe       int      // number of the probe behind sums
	q, k        ir.Pool  // of blocks
	shares      bool     // of blocks: softmax of the scores
	fold        int      // of blocks: side of the squares that are scored in place of pooled blocks, or 0
}

// StageKinds lists the kinds of stages that a kernel of schedule s needs before it, in the order of their first launch: that
// of numbers by head, and those of its index. An
// index stage that devices cannot compute is an error that names what is not supported.
func StageKinds(s *ir.Schedule) ([]string, error) {
	p, err := planIndex(s)
	if err != nil {
		return nil, err
	}
	return p.kinds(), nil
}

// planIndex recognises the compositions of primitives for which there are kernels.
func planIndex(s *ir.Schedule) (*indexPlan, error) {
	p := &indexPlan{}
	defs := map[string]ir.Index{}
	for _, d := range s.Index {
		defs[d.Name] = d.Value
		choice, ok := d.Value.(ir.Select)
		if !ok {
			continue
		}
		c, err := p.planChoice(choice, defs)
		if err != nil {
			return nil, fmt.Errorf("index %q of %s: %w", d.Name, s.Name, err)
		}
		kind, _ := ir.IndexType(s.Index, d.Name)
		chosen, _ := kind.Chosen()
		c.source = ir.Chosen{Name: d.Name, Kind: chosen}.Source()
		p.choices = append(p.choices, c)
	}
	p.headParams = s.Budgets()
	return p, nil
}

// planChoice follows a Select to the q and k that it starts from.
func (p *indexPlan) planChoice(s ir.Select, defs map[string]ir.Index) (indexChoice, error) {
	c := indexChoice{rule: s.Rule, n: s.N, most: s.Most, first: s.First, last: s.Last}
	from := defs[s.Of]
	if soft, ok := from.(ir.Softmax); ok {
		from, c.shares = defs[soft.Of], true
	}
	switch of := from.(type) {
	case ir.Sum:
		if of.Over == ir.OverBlocks {
			return c, c.planSquares(of, defs)
		}
		var err error
		c.probe, err = p.planProbe(of, defs)
		return c, err
	case ir.BlockScores:
		var isQ, isK bool
		c.q, isQ = defs[of.Q].(ir.Pool)
		c.k, isK = defs[of.K].(ir.Pool)
		if !isQ || !isK {
			return c, fmt.Errorf("internal: block scores of %T and %T", defs[of.Q], defs[of.K])
		}
		return c, nil
	default:
		return c, fmt.Errorf("internal: a choice from %T", of)
	}
}

// planSquares follows a sum over blocks to the squares that it starts from.
func (c *indexChoice) planSquares(sum ir.Sum, defs map[string]ir.Index) error {
	soft, _ := defs[sum.Of].(ir.Softmax)
	of, ok := defs[soft.Of].(ir.Antidiagonals)
	if !ok {
		return fmt.Errorf("internal: a sum over blocks of %T", defs[sum.Of])
	}
	c.shares, c.fold = true, of.Step
	return nil
}

func (p *indexPlan) has(kinds ...ir.SourceKind) bool {
	return slices.ContainsFunc(p.choices, func(c indexChoice) bool { return slices.Contains(kinds, c.source.Kind) })
}

// kinds lists the kinds of stages of the plan.
func (p *indexPlan) kinds() []string {
	var out []string
	add := func(needed bool, kinds ...string) {
		for _, k := range kinds {
			if needed && !slices.Contains(out, k) {
				out = append(out, k)
			}
		}
	}
	add(true, StageStoreWords)
	for _, probe := range p.probes {
		add(probe.spread(), StageClear)
		add(true, probe.statsStage(), StageProbeCombine, probe.sumsStage())
	}
	for _, c := range p.choices {
		add(c.source.Kind != ir.SourceBlocks, c.selectStage())
	}
	add(p.has(ir.SourceRuns), StageRuns)
	add(p.has(ir.SourceColumns), StageColumns, StageCompact)
	for _, c := range p.choices {
		blocks := c.source.Kind == ir.SourceBlocks
		add(blocks && c.fold > 0, StageSquareScores)
		add(blocks && c.fold == 0, poolStage(c.q), poolStage(c.k), StageBlockScores)
		add(blocks && c.shares, StageBlockShares)
		add(blocks, c.selectStage())
	}
	add(len(p.choices) > 0, StageDecide)
	return out
}

// selectStages are the kinds of stages that choose, by rule.
var (
	selectStages      = []string{ir.Top: StageSelectTop, ir.TopP: StageSelectMass, ir.Above: StageSelectAbove}
	blockSelectStages = []string{ir.Top: StageBlockSelect, ir.TopP: StageBlockSelectMass, ir.Above: StageBlockSelectAbove}
)

// selectStage is the kind of stage that makes the choice.
func (c indexChoice) selectStage() string {
	if c.source.Kind == ir.SourceBlocks {
		return blockSelectStages[c.rule]
	}
	return selectStages[c.rule]
}

// pooled says whether some choice starts from pooled blocks.
func (p *indexPlan) pooled() bool {
	return slices.ContainsFunc(p.choices, func(c indexChoice) bool { return len(c.pools()) > 0 })
}

// pools are those that the choice starts from.
func (c indexChoice) pools() []ir.Pool {
	if c.source.Kind != ir.SourceBlocks || c.fold > 0 {
		return nil
	}
	return []ir.Pool{c.q, c.k}
}

// poolStage is the kind of stage for a pool.
func poolStage(p ir.Pool) string {
	if p.With == ir.ReduceMax {
		return StagePoolMax
	}
	return StagePoolMean
}
