//go:build cgo && linux && (amd64 || arm64)

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/plans"
)

// specJSON is the text of a spec.
type specJSON struct {
	Pattern string           `json:"pattern"`
	Source  string           `json:"source"`
	Params  map[string]int64 `json:"params"`
	Plan    json.RawMessage  `json:"plan"`
	Layer   *int             `json:"layer"`
	Given   string           `json:"given"`
}

// shardJSON says which rank's heads of a plan are meant, under tensor parallelism.
type shardJSON struct {
	Rank  int `json:"rank"`
	World int `json:"world"`
	Heads int `json:"heads"` // query heads of the model; 0: see plan.Shard
}

// specError is an error of what a spec says, unless it is of a kind of its own.
type specError struct{ error }

func (e specError) Unwrap() error { return e.error }

// decode reads one JSON value into a struct that has all its fields.
func decode(text string, to any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, more := d.Token(); !errors.Is(more, io.EOF) {
		return fmt.Errorf("there is text behind its end, at byte %d", d.InputOffset())
	}
	return nil
}

func parseSpec(text string) (minfc.Spec, error) {
	var in specJSON
	if err := decode(text, &in); err != nil {
		return minfc.Spec{}, specError{fmt.Errorf("the spec is not understood: %w; want JSON such as "+
			`{"pattern": "vertical_slash", "params": {"vertical": 1000}} or {"plan": {...}, "layer": 0}`, err)}
	}
	return in.spec()
}

// readPlan is a head plan in minfc's format, or the part of one that a rank runs: {"plan": {...}, "shard": {"rank": 1, "world": 4}}.
func readPlan(name, text string) (string, error) {
	in := struct {
		Plan      json.RawMessage `json:"plan"`
		Shard     *shardJSON      `json:"shard"`
		Published string          `json:"published"`
	}{Plan: json.RawMessage(text)}
	var part struct {
		Plan      json.RawMessage
		Published string
	}
	if json.Unmarshal([]byte(text), &part) == nil && (part.Plan != nil || part.Published != "") { // a plan has no such fields
		if err := decode(text, &in); err != nil {
			return "", specError{fmt.Errorf(`%s: a part of a plan is not understood: %w; want {"plan": {...}, "shard": {"rank": 1, "world": 4}} or {"published": "the name of a model"}`, name, err)}
		}
	}
	var p *plan.Plan
	var err error
	if in.Published != "" {
		p, err = plans.Find(in.Published)
	} else {
		p, err = plan.Read(name, in.Plan, nil)
	}
	if err == nil && in.Shard != nil {
		p, err = p.Shard(in.Shard.Rank, in.Shard.World, in.Shard.Heads)
	}
	if err != nil {
		return "", specError{err}
	}
	out, err := p.JSON()
	return string(out), err
}

func (in *specJSON) spec() (minfc.Spec, error) {
	out := minfc.Spec{Pattern: in.Pattern, Source: in.Source, Params: in.Params}
	switch {
	case in.Given != "":
		if in.Plan != nil || in.Layer != nil {
			return out, specError{errors.New("the spec says that lists are given and has a plan as well, want one of them")}
		}
		out.Given = minfc.Given(in.Given)
		return out, nil
	case in.Plan == nil && in.Layer != nil:
		return out, specError{errors.New("the spec has a layer and no plan")}
	case in.Plan == nil && in.Pattern == "" && in.Source == "":
		return out, specError{errors.New("the spec names nothing, want a pattern, a source, a plan or given lists")}
	case in.Plan == nil:
		return out, nil
	case in.Layer == nil:
		return out, specError{errors.New("the spec has a plan and no layer")}
	}
	var err error
	out.Layer = *in.Layer
	if out.Plan, err = plan.Read("plan", in.Plan, nil); err != nil {
		return out, specError{err}
	}
	return out, nil
}
