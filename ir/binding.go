package ir

import "slices"

// ValuesAt are the given values of the parameters that become known at that time. Names that p does not have are left out.
func (p *Pattern) ValuesAt(when Binding, given map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for _, x := range p.Params {
		if v, ok := given[x.Name]; ok && x.Binding == when {
			out[x.Name] = v
		}
	}
	return out
}

// WithDefaults is p with those defaults in the place of its own; values of other names change nothing. An artifact
// holds its pattern so, with the chosen const values, so that a reference computed from the artifact alone means the same.
func (p *Pattern) WithDefaults(defaults map[string]int64) *Pattern {
	out := *p
	out.Params = slices.Clone(p.Params)
	for i, x := range out.Params {
		if v, ok := defaults[x.Name]; ok {
			out.Params[i].Default = v
		}
	}
	return &out
}
