package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/minfc/minfc/internal/filekind"
	"github.com/minfc/minfc/internal/suggest"
	"github.com/minfc/minfc/ir"
)

// Read reads a plan of either format, told by whether the file is an object or a list. The file's name is used in messages;
// known are the patterns it may name, nil for the library. Errors name the line and column of every fault, up to some.
func Read(file string, data []byte, known Known) (*Plan, error) {
	if known == nil {
		var err error
		if known, err = Library(); err != nil {
			return nil, err
		}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // editors on other systems write a byte order mark, which means nothing
	if err := filekind.Refuse(data, "a head plan", filekind.Plan, filekind.Empty); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	r := &reader{file: file, data: data, known: known}
	p := &Plan{Default: known.DefaultHead()}
	switch n := r.parse(); {
	case n == nil:
	case n.value == json.Delim('['):
		r.minference(p, n)
	case n.value == json.Delim('{'):
		r.own(p, n)
	default:
		r.fault(n.at, "found %s, want a plan: an object, or MInference's list of layers", n.kind())
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return p, nil
}

// fields gives each member of an object to the function of its name.
func (r *reader) fields(n *node, what string, fields map[string]func(*node), names ...string) {
	for _, m := range n.fields {
		if read := fields[m.name]; read != nil {
			read(m.node)
		} else {
			r.fault(m.at, "%s has no field %q, want %s%s", what, m.name, strings.Join(names, ", "), suggest.Hint(m.name, names))
		}
	}
}

// own reads this project's format.
func (r *reader) own(p *Plan, n *node) {
	schema, layers := false, false
	r.fields(n, "a plan", map[string]func(*node){
		"schema": func(n *node) {
			if v, ok := r.whole(n, "schema"); ok && v != SchemaVersion {
				r.fault(n.at, "schema is %d, this version reads %d", v, SchemaVersion)
			}
			schema = true
		},
		"model":      func(n *node) { p.Model = r.text(n, "model") },
		"heads":      func(n *node) { p.Heads = r.count(n, "heads", 1) },
		"heads_from": func(n *node) { p.HeadsFrom = r.count(n, "heads_from", 0) },
		"search":     func(n *node) { p.Search = &Total{}; r.numbers(n, "search", p.Search) },
		"layers":     func(n *node) { layers = true; p.Layers = r.layers(n, r.ownHead) },
	}, "schema", "model", "heads", "heads_from", "search", "layers")
	if !schema {
		r.fault(n.at, "a plan without its schema, want \"schema\": %d", SchemaVersion)
	}
	if !layers {
		r.fault(n.at, "a plan without layers, want \"layers\": [{\"0\": {\"pattern\": ..., \"params\": {...}}, ...}, ...]")
	}
	for i := range p.Layers {
		if err := p.checkLayer(i, p.Heads); p.Heads != 0 && err != nil {
			r.fault(n.at, "%w", err)
		}
	}
}

// count reads a number of heads.
func (r *reader) count(n *node, what string, least int64) int {
	v, ok := r.whole(n, what)
	if ok && (v < least || v > maxHeads) {
		r.fault(n.at, "%s is %d, want %d to %d", what, v, least, maxHeads)
	}
	return int(v)
}

func (r *reader) minference(p *Plan, n *node) { p.Layers = r.layers(n, r.minferenceHead) }

// layers reads a list with one object for each layer, from head numbers to heads.
func (r *reader) layers(n *node, head func(n *node, what string) (Head, bool)) []Layer {
	if !r.isList(n, "layers") {
		return nil
	}
	if len(n.items) == 0 {
		r.fault(n.at, "a plan of no layers, want one or more")
	}
	var out []Layer
	for i, item := range n.items {
		layer, what := Layer{}, fmt.Sprintf("layer %d", i)
		out = append(out, layer)
		if !r.isObject(item, what) {
			continue
		}
		for _, m := range item.fields {
			h, err := strconv.ParseUint(m.name, 10, 16)
			if err != nil || strconv.Itoa(int(h)) != m.name {
				r.fault(m.at, "%s: %q is not the number of a head, want \"0\", \"1\", ...", what, m.name)
				continue
			}
			if x, ok := head(m.node, fmt.Sprintf("%s, head %d", what, h)); ok {
				layer[int(h)] = x
			}
		}
	}
	return out
}

func (r *reader) ownHead(n *node, what string) (h Head, ok bool) {
	if !r.isObject(n, what) {
		return h, false
	}
	var pattern, params *node
	faults := r.faults()
	r.fields(n, what, map[string]func(*node){
		"pattern": func(n *node) { pattern = n },
		"params":  func(n *node) { params = n },
		"score":   func(n *node) { h.Score = r.float(n, what+", score") },
		"search":  func(n *node) { h.Found = &Found{}; r.numbers(n, what+", search", h.Found) },
	}, "pattern", "params", "score", "search")
	if pattern == nil {
		r.fault(n.at, "%s has no pattern, want \"pattern\" to be one of %s", what, strings.Join(r.known.names(), ", "))
		return h, false
	}
	name := r.text(pattern, what+", pattern")
	if r.faults() > faults {
		return h, false
	}
	if h.Pattern = r.known[name]; h.Pattern == nil {
		r.fault(pattern.at, "%s: unknown pattern %q, want one of %s%s", what, name, strings.Join(r.known.names(), ", "), suggest.Hint(name, r.known.names()))
		return h, false
	}
	if params != nil && r.isObject(params, what+", params") {
		h.Params = r.params(params, what)
	}
	return r.valid(h, n, what, faults)
}

// ReadHeads reads a list of heads as our format has them in its layers: [{"pattern": ..., "params": {...}}, ...].
func ReadHeads(file string, data []byte, known Known) ([]Head, error) {
	r := &reader{file: file, data: data, known: known}
	var out []Head
	if n := r.parse(); n != nil && r.isList(n, "heads") {
		for i, item := range n.items {
			if h, ok := r.ownHead(item, fmt.Sprintf("entry %d", i)); ok {
				out = append(out, h)
			}
		}
		if len(n.items) == 0 {
			r.fault(n.at, "a list of no heads, want one or more")
		}
	}
	return out, r.err()
}

func (r *reader) params(n *node, what string) map[string]int64 {
	out := map[string]int64{}
	for _, m := range n.fields {
		if v, ok := r.whole(m.node, what+", "+m.name); ok {
			out[m.name] = v
		}
	}
	return out
}

// faults counts the faults noted so far.
func (r *reader) faults() int { return len(r.errs) + r.more }

// valid checks the parameters of a head that was read without a fault.
func (r *reader) valid(h Head, n *node, what string, faults int) (Head, bool) {
	if r.faults() > faults {
		return h, false
	}
	if _, err := h.Values(); err != nil {
		r.fault(n.at, "%s, %s: %w", what, h.Pattern.Name, err)
		return h, false
	}
	return h, true
}

// minferencePattern is a pattern of MInference and what the two numbers of its entries are.
type minferencePattern struct {
	name, ours string
	params     [2]string        // "" where MInference does not look at the number
	fixed      map[string]int64 // what it takes instead
}

var minferencePatterns = []minferencePattern{
	{"vertical_and_slash", "vertical_slash", [2]string{"vertical", "slash"}, nil},
	{"stream_llm", "a_shape", [2]string{"sink", "window"}, nil},
	{"block_sparse", "block_sparse", [2]string{}, map[string]int64{"topk": 100}},
}

// flexible begins the names of MInference's patterns that choose by mass.
const flexible = "flex_"

func findMInference(match func(m minferencePattern) bool) (m minferencePattern, names []string, ok bool) {
	for _, x := range minferencePatterns {
		names = append(names, x.name)
		if match(x) && !ok {
			m, ok = x, true
		}
	}
	return m, names, ok
}

// minferenceHead reads [pattern, number, number, score].
func (r *reader) minferenceHead(n *node, what string) (h Head, ok bool) {
	if !r.isList(n, what) {
		return h, false
	}
	if len(n.items) != 4 {
		r.fault(n.at, "%s has %d values, want 4: [pattern, vertical or sink, slash or window, score]", what, len(n.items))
		return h, false
	}
	faults := r.faults()
	name := r.text(n.items[0], what+", pattern")
	m, names, found := findMInference(func(m minferencePattern) bool { return m.name == name })
	switch {
	case r.faults() > faults:
		return h, false
	case !found && strings.HasPrefix(name, flexible):
		r.fault(n.items[0].at, "%s: pattern %q chooses by mass, which no pattern of the library does; want one of %s", what, name, strings.Join(names, ", "))
		return h, false
	case !found:
		r.fault(n.items[0].at, "%s: unknown pattern %q, want one of %s%s", what, name, strings.Join(names, ", "), suggest.Hint(name, names))
		return h, false
	}
	h = Head{Pattern: r.known[m.ours], Params: map[string]int64{}, Score: r.float(n.items[3], what+", score")}
	for i, param := range m.params {
		v, isWhole := r.whole(n.items[1+i], what)
		if param == "" { // looked at only to find damage
			continue
		}
		if isWhole && (v < 0 || v > ir.MaxParam) {
			r.fault(n.items[1+i].at, "%s: %s is %d, want %d at most and not below 0", what, param, v, ir.MaxParam)
		}
		h.Params[param] = v
	}
	for param, v := range m.fixed {
		h.Params[param] = v
	}
	return r.valid(h, n, what, faults)
}
