package ir

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// CheckLaunch returns the value of every parameter for one launch: the given one, else its default. It reports all of:
// unknown names, values below the minimum or beyond MaxParam, and conditions that do not hold.
func CheckLaunch(params []Param, requires []Require, values map[string]int64) (map[string]int64, error) {
	var names []string
	for _, p := range params {
		names = append(names, p.Name)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(names, name) {
			errs = append(errs, unknownParam(name, names))
		}
	}
	out := map[string]int64{}
	for _, p := range params {
		v, given := values[p.Name]
		if !given {
			v = p.Default
		}
		out[p.Name] = v
		if err := p.checkValue(v); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		errs = checkRequires(requires, out)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

func (p Param) checkValue(v int64) error {
	switch {
	case v < p.Min:
		return fmt.Errorf("%s must be at least %d, got %d", p.Name, p.Min, v)
	case v > MaxParam:
		return fmt.Errorf("%s must be at most %d, got %d", p.Name, int64(MaxParam), v)
	}
	return nil
}

func checkRequires(requires []Require, values map[string]int64) []error {
	var errs []error
	for _, r := range requires {
		got, err := r.Value.Eval(values)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", r.what(), err))
		case got < r.Min:
			errs = append(errs, fmt.Errorf("%s must be at least %d, got %d%s", r.what(), r.Min, got, usedValues(r.Value, values)))
		}
	}
	return errs
}

// what names the required value: in words if there are any, else as it is written.
func (r Require) what() string {
	if r.What == "" {
		return r.Value.String()
	}
	return r.What + " (" + r.Value.String() + ")"
}

// usedValues lists the parameters that make up p: " (window = 3, step = 0)".
func usedValues(p Poly, values map[string]int64) string {
	used := map[string]int64{}
	for _, v := range p.Vars() {
		used[v] = values[v]
	}
	return formatValues(used)
}

func formatValues(values map[string]int64) string {
	var parts []string
	for _, v := range slices.Sorted(maps.Keys(values)) {
		parts = append(parts, fmt.Sprintf("%s = %d", v, values[v]))
	}
	if len(parts) == 0 {
		return ""
	}
	return " with " + strings.Join(parts, ", ")
}

func unknownParam(name string, known []string) error {
	switch best := Closest(name, known); {
	case best != "":
		return fmt.Errorf("unknown parameter %q; did you mean %q?", name, best)
	case len(known) == 0:
		return fmt.Errorf("unknown parameter %q; the pattern has no parameters", name)
	default:
		return fmt.Errorf("unknown parameter %q; the pattern has %s", name, strings.Join(known, ", "))
	}
}

// CheckValues says whether every number of p stays within MaxParam by magnitude. A schedule asks for no number that the passes found to
// make no difference, but it has no meaning beyond the limit either. Values has a number for each launch parameter; const parameters
// have their defaults.
func (p *Pattern) CheckValues(values map[string]int64) error {
	all := map[string]int64{}
	for _, x := range p.Params {
		all[x.Name] = x.Default
	}
	maps.Copy(all, values)
	var errs []error
	check := func(x Poly) Poly {
		if _, err := x.Eval(all); err != nil {
			errs = append(errs, err)
		}
		return x
	}
	MapPolys(p.Keep, check)
	MapIndexPolys(p.Index, check)
	if p.Skip != nil {
		check(p.Skip.Share)
	}
	return errors.Join(errs...)
}

// CheckValues says whether every expression of s stays within MaxParam by magnitude, and every step is at least 1, for
// values that CheckLaunch returned. Kernels compute in 32 bits and rely on it.
func (s *Schedule) CheckValues(values map[string]int64) error {
	_, err := s.Bind(values)
	return err
}
