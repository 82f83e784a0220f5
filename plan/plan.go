// Package plan says which pattern each attention head of a model runs, reads and writes such plans, and launches the heads
// of a layer.
package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/patterns"
)

// SchemaVersion is the version of this project's own format.
const SchemaVersion = 1

// Plan is what the heads of a model run.
type Plan struct {
	Model     string // "" when the file does not say
	Heads     int    // how many query heads a layer has; 0 when the file does not say
	HeadsFrom int    // of a plan for a range of a model's query heads: the number of its head 0 in the model
	Search    *Total // what a search expects of all heads together; nil when the file does not say
	Layers    []Layer
	Default   Head // of heads without an entry
}

// Layer holds heads by their number among the query heads.
type Layer map[int]Head

// Head is what one query head runs.
type Head struct {
	Pattern *ir.Pattern
	Params  map[string]int64 // what was given; other parameters have the pattern's defaults
	Score   float64          // what a search gave the choice: the kept part of attention; 0 when it is not known
	Found   *Found           // what a search expects of the head; nil when it is not known
}

// Values are the values of all parameters of the head.
func (h Head) Values() (map[string]int64, error) {
	values, err := ir.CheckLaunch(h.Pattern.Params, h.Pattern.Requires, h.Params)
	if err != nil {
		return nil, err
	}
	for _, name := range budgets(h.Pattern) {
		if values[name] < 1 {
			return nil, fmt.Errorf("%s is a budget and must be at least 1 in a plan, got %d", name, values[name])
		}
	}
	return values, nil
}

// String is the pattern and all its parameters, in the pattern's order: "vertical_slash vertical=1000 slash=6096".
func (h Head) String() string {
	var b strings.Builder
	b.WriteString(h.Pattern.Name)
	for _, p := range h.Pattern.Params {
		v, given := h.Params[p.Name]
		if !given {
			v = p.Default
		}
		fmt.Fprintf(&b, " %s=%d", p.Name, v)
	}
	return b.String()
}

// budgets lists the parameters that say how many members data chooses. A plan that asks for none of them is a mistake: to
// leave a set out there are other patterns.
func budgets(p *ir.Pattern) []string {
	var out []string
	for _, d := range p.Index {
		if s, ok := d.Value.(ir.Select); ok && s.Rule == ir.Top {
			out = append(out, s.N.Vars()...)
		}
	}
	return out
}

// Known are the patterns that a plan may name.
type Known map[string]*ir.Pattern

// Library returns the patterns of the library together with others; one of these hides the library's pattern of its name.
func Library(others ...*ir.Pattern) (Known, error) {
	out := Known{}
	for _, name := range patterns.Names() {
		file, src, _ := patterns.Source(name)
		_, found, err := dsl.Load(file, src)
		if err != nil {
			return nil, fmt.Errorf("internal: %w", err)
		}
		out[name] = found[0]
	}
	for _, p := range others {
		out[p.Name] = p
	}
	return out, nil
}

// names lists the patterns, sorted.
func (k Known) names() []string { return slices.Sorted(maps.Keys(k)) }

// DefaultHead is the choice of MInference for heads that its files leave out.
func (k Known) DefaultHead() Head {
	return Head{Pattern: k["vertical_slash"], Params: map[string]int64{"vertical": 1000, "slash": 6096}}
}

// maxNamed is how many faults, or heads, one message lists.
const maxNamed = 10

// called is a layer in messages. The only one may be any layer of a model: whoever runs a layer alone has a plan of it alone.
func (p *Plan) called(layer int) string {
	if len(p.Layers) == 1 {
		return "the layer"
	}
	return fmt.Sprintf("layer %d", layer)
}

// Assign returns what the query heads of a layer run, [qHeads], and the heads among them that have no entry and got
// Plan.Default. Layers and heads count from 0. A layer that is not there, heads beyond the model, and another number of heads than the
// plan says it is for are errors.
func (p *Plan) Assign(layer, qHeads int) (heads []Head, missing []int, err error) {
	if layer < 0 || layer >= len(p.Layers) {
		return nil, nil, fmt.Errorf("there is no layer %d, the plan has %d, counted from 0", layer, len(p.Layers))
	}
	if p.Heads != 0 && p.Heads != qHeads {
		return nil, nil, p.otherHeads(qHeads)
	}
	if err := p.checkLayer(layer, qHeads); err != nil {
		return nil, nil, err
	}
	entries := p.Layers[layer]
	heads = make([]Head, qHeads)
	var errs []error
	for h := range heads {
		head, there := entries[h]
		if !there {
			head, missing = p.Default, append(missing, h)
		}
		if _, err := head.Values(); err != nil && len(errs) < maxNamed {
			errs = append(errs, fmt.Errorf("%s, head %d, %s: %w", p.called(layer), h, head.Pattern.Name, err))
		}
		heads[h] = head
	}
	return heads, missing, errors.Join(errs...)
}

// checkLayer refuses entries of heads that a model with so many query heads does not have.
func (p *Plan) checkLayer(layer, qHeads int) error {
	for _, h := range slices.Sorted(maps.Keys(p.Layers[layer])) {
		if h < 0 || h >= qHeads {
			return fmt.Errorf("%s has an entry for head %d, the model has %d query heads, counted from 0", p.called(layer), h, qHeads)
		}
	}
	return nil
}
