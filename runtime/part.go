package runtime

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/minfc/minfc/runtime/device"
)

// checkParts checks whose heads parts are. No parts at all are the artifact's only pattern with its defaults.
func (l *Loaded) checkParts(s Shape, parts []Part) ([]Part, error) {
	switch {
	case len(parts) > 0:
	case len(l.patterns) == 1:
		parts = []Part{{}}
	default:
		return nil, device.BadCall("the artifact has %d patterns, want parts that say which heads run which", len(l.patterns))
	}
	taken := make([]bool, s.QHeads)
	for i, p := range parts {
		switch {
		case p.Pattern < 0 || p.Pattern >= len(l.patterns):
			return nil, device.BadCall("part %d: Pattern is %d, want one of %d", i, p.Pattern, len(l.patterns))
		case p.Heads == nil && len(parts) == 1: // all of them
		case len(p.Heads) == 0:
			return nil, device.BadCall("part %d has no heads", i)
		}
		before := -1
		for _, h := range p.Heads {
			switch {
			case h <= before || h >= s.QHeads:
				return nil, device.BadCall("part %d has the heads %v, want ascending ones from 0 to %d", i, p.Heads, s.QHeads-1)
			case taken[h]:
				return nil, device.BadCall("two parts have head %d", h)
			}
			before, taken[h] = h, true
		}
		for _, name := range slices.Sorted(maps.Keys(p.HeadParams)) {
			if n := len(p.HeadParams[name]); n != p.count(s) {
				return nil, p.wrap(device.BadCall("HeadParams has %d values of %s, want one for each of %d heads", n, name, p.count(s)))
			}
		}
	}
	return parts, nil
}

// count is how many heads the part has.
func (p Part) count(s Shape) int {
	if p.Heads == nil {
		return s.QHeads
	}
	return len(p.Heads)
}

// Only is the part cut to some heads of a call, ascending; false if it has none of them.
func (p Part) Only(heads []int) (Part, bool) {
	out := Part{Pattern: p.Pattern, Params: p.Params, Heads: []int{}}
	for name := range p.HeadParams {
		if out.HeadParams == nil {
			out.HeadParams = map[string][]int64{}
		}
		out.HeadParams[name] = nil
	}
	for _, h := range heads {
		i := h
		if p.Heads != nil {
			if i = slices.Index(p.Heads, h); i < 0 {
				continue
			}
		}
		out.Heads = append(out.Heads, h)
		for name, values := range p.HeadParams {
			out.HeadParams[name] = append(out.HeadParams[name], values[i])
		}
	}
	return out, len(out.Heads) > 0
}

// spans says which heads of a call the part is a call of its own on. It goes from the kv heads of the first head to those of the last one,
// or from the first head to the last where these share a kv head: a call has as many query heads to every kv head. Heads between that are
// not the part's take no part.
func (p Part) spans(s Shape) (first, end int) {
	if p.Heads == nil {
		return 0, s.QHeads
	}
	group := s.QHeads / s.KVHeads
	first, end = p.Heads[0], p.Heads[len(p.Heads)-1]+1
	if first/group != (end-1)/group {
		first, end = first/group*group, (end+group-1)/group*group
	}
	return first, end
}

// call is the part as a call of its own: a span of the heads of a checked one.
func (p Part) call(layer *call) *call {
	first, end := p.spans(layer.Shape)
	c := *layer
	c.QHeads, c.KVHeads, c.head0 = end-first, max(1, (end-first)/layer.group), first
	c.params = p.Params
	if p.Heads == nil {
		c.headParams = p.HeadParams
		return &c
	}
	if len(p.Heads) < end-first {
		c.mask = make([]bool, end-first)
		for _, h := range p.Heads {
			c.mask[h-first] = true
		}
	}
	for name, given := range p.HeadParams {
		if c.headParams == nil {
			c.headParams = map[string][]int64{}
		}
		values := make([]int64, end-first)
		for i, h := range p.Heads {
			values[h-first] = given[i]
		}
		c.headParams[name] = values
	}
	return &c
}

// bases say where the tensors of a part begin, in bytes from the start of the layer's.
func (c *call) bases() bases {
	kv := c.head0 / c.group
	at := func(s Stride, head int) int64 { return bytesOf(s.Head) * int64(head) }
	return bases{q: at(c.Strides.Q, c.head0), o: at(c.Strides.O, c.head0), k: at(c.Strides.K, kv), v: at(c.Strides.V, kv),
		lse: lseBytes * c.Strides.LSE.Head * int64(c.head0)}
}

// wrap says whose error it is.
func (p Part) wrap(err error) error {
	if p.Heads == nil {
		return err
	}
	return fmt.Errorf("%s: %w", ListHeads(p.Heads), err)
}

// ListHeads words ascending head numbers: "head 3", "heads 0-2, 5".
func ListHeads(heads []int) string {
	var parts []string
	for i := 0; i < len(heads); {
		n := 1
		for i+n < len(heads) && heads[i+n] == heads[i]+n {
			n++
		}
		part := fmt.Sprint(heads[i])
		if n > 1 {
			part = fmt.Sprintf("%d-%d", heads[i], heads[i]+n-1)
		}
		parts, i = append(parts, part), i+n
	}
	word := "heads"
	if len(heads) == 1 {
		word = "head"
	}
	return word + " " + strings.Join(parts, ", ")
}
