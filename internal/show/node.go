package show

import (
	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/ir"
)

// node is a set of the keep clause where it is written: parentheses and named sets left out, unions of unions joined.
type node struct {
	span  dsl.Span
	set   ir.Set
	parts []*node // what an operator joins; of a difference the left side and the right one
}

func newNode(s *dsl.Set) *node {
	if len(s.Parts) == 1 { // parentheses, or a name
		return newNode(s.Parts[0])
	}
	n := &node{span: s.Span, set: s.Means}
	for _, p := range s.Parts {
		part := newNode(p)
		if sameOperator(n.set, part.set) {
			n.parts = append(n.parts, part.parts...)
			continue
		}
		n.parts = append(n.parts, part)
	}
	return n
}

// sameOperator says whether both join sets by one operator whose order does not matter.
func sameOperator(a, b ir.Set) bool {
	switch a.(type) {
	case ir.Union:
		_, is := b.(ir.Union)
		return is
	case ir.Intersect:
		_, is := b.(ir.Intersect)
		return is
	}
	return false
}

// kept calls f for every set without operands that is not taken away from another.
func (n *node) kept(f func(*node)) {
	parts := n.parts
	if _, is := n.set.(ir.Minus); is {
		parts = parts[:1]
	}
	if len(parts) == 0 {
		f(n)
	}
	for _, p := range parts {
		p.kept(f)
	}
}
