// Package plans has published head plans of models, by the names of the models.
//
// They are budgets that others have searched and published, none of which this project has verified: MInference 1.0's for five families
// (arXiv 2407.02490, section 4; MIT License, Copyright (c) Microsoft Corporation). A file lists the names of its models, says where its
// budgets are from, gives a letter to each pattern with its parameters, and has a line for each layer with a letter for each query head.
package plans

import (
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/minfc/minfc/internal/suggest"
	"github.com/minfc/minfc/plan"
)

//go:embed *.txt
var files embed.FS

// Published is a plan with what is known of it.
type Published struct {
	Models []string // names of models, as their hub has them
	Source string   // who published it, where, under which licence
	text   string
}

// All lists what there is, by its first model.
func All() ([]Published, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var out []Published
	for _, e := range entries {
		data, err := files.ReadFile(e.Name())
		if err != nil {
			return nil, err
		}
		p := Published{text: string(data)}
		for line := range strings.Lines(p.text) {
			switch word, rest, _ := strings.Cut(strings.TrimSpace(line), " "); word {
			case "model":
				p.Models = append(p.Models, rest)
			case "source":
				p.Source = rest
			}
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Published) int { return strings.Compare(a.Models[0], b.Models[0]) })
	return out, nil
}

// Find returns the plan of a model by its name, in which capital letters do not matter and the part before the slash may be left out. The
// error lists the names.
func Find(model string) (*plan.Plan, error) {
	all, err := All()
	if err != nil {
		return nil, err
	}
	var names, like []string
	for _, p := range all {
		for _, name := range p.Models {
			if same(name, model) {
				return p.plan(name)
			}
			_, short, _ := strings.Cut(name, "/")
			names, like = append(names, name), append(like, name, short)
		}
	}
	return nil, fmt.Errorf("no plan is published here for the model %q, want %s%s", model, strings.Join(names, ", "), suggest.Hint(model, like))
}

// Has says whether there is a plan for a model of that name.
func Has(model string) bool {
	all, err := All()
	return err == nil && slices.ContainsFunc(all, func(p Published) bool {
		return slices.ContainsFunc(p.Models, func(name string) bool { return same(name, model) })
	})
}

func same(name, model string) bool {
	_, short, _ := strings.Cut(name, "/")
	return strings.EqualFold(name, model) || strings.EqualFold(short, model)
}

// plan reads the file.
func (p Published) plan(model string) (*plan.Plan, error) {
	known, err := plan.Library()
	if err != nil {
		return nil, err
	}
	out, letters := &plan.Plan{Model: model, Default: known.DefaultHead()}, map[rune]plan.Head{}
	for line := range strings.Lines(p.text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == "model" || word == "source":
		case word == "layer":
			layer := plan.Layer{}
			for h, letter := range rest {
				layer[h] = letters[letter]
			}
			out.Layers, out.Heads = append(out.Layers, layer), len(layer)
		default:
			if letters[rune(word[0])], err = head(known, rest); err != nil {
				return nil, fmt.Errorf("plan of %s: %w", model, err)
			}
		}
	}
	return out, nil
}

// head reads a pattern and its parameters: "vertical_slash vertical=30 slash=800".
func head(known plan.Known, text string) (plan.Head, error) {
	words := strings.Fields(text)
	h := plan.Head{Pattern: known[words[0]], Params: map[string]int64{}}
	if h.Pattern == nil {
		return h, fmt.Errorf("there is no pattern %q", words[0])
	}
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return h, fmt.Errorf("parameter %s: %w", name, err)
		}
		h.Params[name] = n
	}
	_, err := h.Values()
	return h, err
}
