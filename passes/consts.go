package passes

import (
	"errors"
	"fmt"
	"slices"

	"github.com/minfc/minfc/ir"
)

// Consts are the values of all const parameters of a pattern: the given ones, and the defaults of the others. It refuses values that the
// pattern does not allow; a condition that a launch parameter has a part in is checked at launch.
func Consts(p *ir.Pattern, given map[string]int64) (map[string]int64, error) {
	baked, launch := splitParams(p.Params)
	for _, x := range launch {
		if _, ok := given[x.Name]; ok {
			return nil, fmt.Errorf("parameter %s of %s is set at launch, not when compiling: it is not const", x.Name, p.Name)
		}
	}
	isBaked := func(name string) bool {
		return slices.ContainsFunc(baked, func(x ir.Param) bool { return x.Name == name })
	}
	requires := slices.DeleteFunc(slices.Clone(p.Requires), func(r ir.Require) bool {
		return slices.ContainsFunc(r.Value.Vars(), func(v string) bool { return !isBaked(v) })
	})
	values, err := ir.CheckLaunch(baked, requires, given)
	if err == nil {
		err = ir.CheckRuns(p.Index, values)
	}
	if err != nil {
		return nil, err
	}
	return values, nil
}

// consts replaces const parameters by their values and drops the conditions that are settled by it.
func consts(u *Unit) error {
	values, err := Consts(u.Pattern, u.consts)
	if err != nil {
		return err
	}
	_, launch := splitParams(u.Pattern.Params)
	var beyond []error
	substitute := func(p ir.Poly) ir.Poly {
		out, err := p.Bake(values)
		if err != nil {
			beyond = append(beyond, err)
		}
		return out
	}
	minima := map[string]int64{}
	for _, p := range launch {
		minima[p.Name] = p.Min
	}
	requires, err := substituteRequires(u.Pattern.Requires, substitute, minima)
	if err != nil {
		return err
	}
	u.Pattern.Params, u.Pattern.Requires = launch, requires
	u.Pattern.Index = ir.MapIndexPolys(u.Pattern.Index, substitute)
	u.Pattern.Keep = ir.MapPolys(u.Pattern.Keep, substitute)
	if s := u.Pattern.Skip; s != nil {
		u.Pattern.Skip = &ir.Skip{Share: substitute(s.Share)}
	}
	return errors.Join(beyond...)
}

func splitParams(params []ir.Param) (baked, launch []ir.Param) {
	for _, p := range params {
		if p.Binding == ir.BindConst {
			baked = append(baked, p)
		} else {
			launch = append(launch, p)
		}
	}
	return baked, launch
}

// substituteRequires keeps the conditions that still depend on the launch. Conditions without parameters must hold now, and
// conditions that follow from the minima of parameters say nothing new.
func substituteRequires(requires []ir.Require, substitute func(ir.Poly) ir.Poly, minima map[string]int64) ([]ir.Require, error) {
	var out []ir.Require
	for _, r := range requires {
		r.Value = substitute(r.Value)
		if r.Value.AtLeast(r.Min, minima) {
			continue
		}
		if _, constant := r.Value.Const(); !constant {
			out = append(out, r)
			continue
		}
		if _, err := ir.CheckLaunch(nil, []ir.Require{r}, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}
