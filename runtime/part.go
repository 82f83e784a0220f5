package runtime

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/minfc/minfc/runtime/device"
)

// Part is what one member computes of a call on all heads of a layer.
type Part struct {
	Member     int                // number of the member
	Heads      []int              // query heads of the layer, ascending; no other part has them
	Params     map[string]int64   // the member's launch parameters, the same for all of these heads
	HeadParams map[string][]int64 // budgets that differ by head, one for each of Heads
}

// Call is the part as a call of its own, on the tensors of a, whose strides must not be left out; and which head of a is its first. It
// spans the kv heads from the first head's to the last one's, or the heads from the first to the last where these share a kv head: a call
// has as many query heads to every kv head. Heads between that are not the part's take no part. It has no workspace.
func (p Part) Call(a Attention) (call Attention, first int) {
	group := a.QHeads / a.KVHeads
	first, end := p.Heads[0], p.Heads[len(p.Heads)-1]+1
	if first/group != (end-1)/group {
		first, end = first/group*group, (end+group-1)/group*group
	}
	a = a.span(first, end-first, group)
	a.Params, a.HeadParams, a.Heads = p.Params, nil, nil
	if len(p.Heads) < end-first {
		a.Heads = make([]bool, end-first)
		for _, h := range p.Heads {
			a.Heads[h-first] = true
		}
	}
	for name, given := range p.HeadParams {
		if a.HeadParams == nil {
			a.HeadParams = map[string][]int64{}
		}
		values := make([]int64, end-first)
		for i, h := range p.Heads {
			values[h-first] = given[i]
		}
		a.HeadParams[name] = values
	}
	return a, first
}

// span is the part of a for n heads from first on, without workspace.
func (a Attention) span(first, n, group int) Attention {
	head := func(t *Tensor, h int) { t.Ptr += device.Ptr(elementBytes * t.HeadStride * int64(h)) }
	head(&a.Q, first)
	head(&a.O, first)
	head(&a.K, first/group)
	head(&a.V, first/group)
	if a.LSE != 0 {
		a.LSE += device.Ptr(lseBytes * a.LSEHeadStride * int64(first))
	}
	a.QHeads, a.KVHeads = n, max(1, n/group)
	a.Workspace, a.WorkspaceBytes = 0, 0
	return a
}

// checkParts checks whose heads parts are.
func (g *LoadedGroups) checkParts(a Attention, parts []Part) error {
	taken := make([]bool, a.QHeads)
	for i, p := range parts {
		switch {
		case p.Member < 0 || p.Member >= len(g.members):
			return device.BadCall("part %d: Member is %d, want one of %d", i, p.Member, len(g.members))
		case len(p.Heads) == 0:
			return device.BadCall("part %d has no heads", i)
		}
		before := -1
		for _, h := range p.Heads {
			switch {
			case h <= before || h >= a.QHeads:
				return device.BadCall("part %d has the heads %v, want ascending ones from 0 to %d", i, p.Heads, a.QHeads-1)
			case taken[h]:
				return device.BadCall("two parts have head %d", h)
			}
			before, taken[h] = h, true
		}
		for _, name := range slices.Sorted(maps.Keys(p.HeadParams)) {
			if n := len(p.HeadParams[name]); n != len(p.Heads) {
				return p.wrap(device.BadCall("HeadParams has %d values of %s, want one for each of %d heads", n, name, len(p.Heads)))
			}
		}
	}
	return nil
}

// wrap says whose error it is.
func (p Part) wrap(err error) error { return fmt.Errorf("%s: %w", ListHeads(p.Heads), err) }

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
