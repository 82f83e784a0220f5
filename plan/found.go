package plan

import (
	"fmt"
	"strings"
)

// Found is what a search measured and predicted of a head (docs/search.md). Nothing that runs depends on it.
type Found struct {
	Density float64 `json:"density"` // kept pairs over causal pairs
	Millis  float64 `json:"ms"`      // predicted milliseconds, the head's part of the index stage included
	Error   float64 `json:"error"`   // |o - dense o| / |dense o| over the sampled rows
}

// Total is what a search expects of all heads of a plan together.
type Total struct {
	Density     float64 // mean over the heads
	Millis      float64 // predicted milliseconds of all layers, one after the other
	DenseMillis float64 // and of dense attention in their place
	Error       float64 // root of the mean square of the heads' errors, weighted as the search was
	Gated       float64 // how many heads were refused a candidate that loses what retrieval rows look at
}

// named is a number of an object of the file.
type named struct {
	name  string
	value *float64
}

// numbers is an object whose fields all are numbers, none below 0.
type numbers interface{ fields() []named }

func (f *Found) fields() []named {
	return []named{{"density", &f.Density}, {"ms", &f.Millis}, {"error", &f.Error}}
}

func (t *Total) fields() []named {
	return []named{{"density", &t.Density}, {"ms", &t.Millis}, {"dense_ms", &t.DenseMillis}, {"error", &t.Error}, {"gated", &t.Gated}}
}

// objectOf is the object as our format has it.
func objectOf(x numbers) string {
	var parts []string
	for _, f := range x.fields() {
		parts = append(parts, fmt.Sprintf("%s: %s", quoted(f.name), number(*f.value)))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// numbers reads an object of numbers, all of which are there.
func (r *reader) numbers(n *node, what string, to numbers) {
	if !r.isObject(n, what) {
		return
	}
	var names []string
	reads, there := map[string]func(*node){}, 0
	for _, f := range to.fields() {
		names = append(names, f.name)
		reads[f.name] = func(n *node) {
			there++
			if *f.value = r.float(n, what+", "+f.name); *f.value < 0 {
				r.fault(n.at, "%s: %s is %v, want none below 0", what, f.name, *f.value)
			}
		}
	}
	r.fields(n, what, reads, names...)
	if there < len(names) {
		r.fault(n.at, "%s has %d numbers, want all of %s", what, there, strings.Join(names, ", "))
	}
}
