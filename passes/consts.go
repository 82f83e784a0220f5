package passes

import (
	"errors"
	"fmt"

	"github.com/minfc/minfc/ir"
)

// consts replaces const parameters by their values and drops the conditions that are settled by it.
func consts(u *Unit) error {
	baked, launch := splitParams(u.Pattern.Params)
	for _, p := range launch {
		if _, given := u.consts[p.Name]; given {
			return fmt.Errorf("%s is a launch parameter; set it when the kernel runs, or declare it const", p.Name)
		}
	}
	values, err := ir.CheckLaunch(baked, nil, u.consts)
	if err != nil {
		return err
	}
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
