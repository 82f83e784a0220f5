package passes

import (
	"cmp"
	"slices"

	"github.com/minfc/minfc/ir"
)

// Motion says how the keys of a set change from one row to the next.
type Motion uint8

const (
	Still    Motion = iota // every key, or none: no bound depends on anything
	WithRow                // translation-invariant: the set moves with the row, as diagonals and windows do
	Constant               // row-invariant: all rows keep the same keys, as sinks and columns do
	Mixed                  // some of both
)

// Class is what classify finds out about a set.
type Class struct {
	Motion  Motion
	Strided bool // has residue tests: not a plain range of keys in each row
	// Source is where the keys come from: a list, for what the data chose
	Source ir.SourceKind
}

var motionWords = [...]string{"everything", "translation-invariant", "row-invariant", "mixed"}

// String is the class in words: "row-invariant range", "translation-invariant strided chosen runs".
func (c Class) String() string {
	words := motionWords[c.Motion]
	if c.Strided {
		words += " strided"
	}
	switch {
	case c.Source != ir.SourceRange:
		words += " chosen " + c.Source.String()
	case !c.Strided:
		words += " range"
	}
	return words
}

// UnionMember is a member of the outermost union, with the conditions around it left out.
type UnionMember struct {
	Set   ir.Set
	Class Class
}

// classify sorts the members of every union: plain ranges before strided sets, translation-invariant before row-invariant
// before mixed. What the data chose comes after all of them: runs, then blocks, then columns, then what the caller
// gives. disjoint takes from later members what earlier ones keep, so ranges stay whole and the cut falls on what
// needs masks anyway.
func classify(u *Unit) error {
	u.Pattern.Keep = sortUnions(u.Pattern.Keep)
	u.Members = nil
	for _, s := range outerUnion(u.Pattern.Keep) {
		u.Members = append(u.Members, UnionMember{s, classOf(s)})
	}
	return nil
}

// outerUnion are the members of the first union found from the outside, or the whole set.
func outerUnion(s ir.Set) []ir.Set {
	switch s := s.(type) {
	case ir.Union:
		return s.Sets
	case ir.Intersect:
		for _, m := range s.Sets {
			if union, ok := m.(ir.Union); ok {
				return union.Sets
			}
		}
	case ir.Minus:
		return outerUnion(s.Left)
	}
	return []ir.Set{s}
}

func sortUnions(s ir.Set) ir.Set {
	switch s := s.(type) {
	case ir.Union:
		sets := sortEach(s.Sets)
		slices.SortStableFunc(sets, func(a, b ir.Set) int { return compareClass(classOf(a), classOf(b)) })
		return ir.Union{Sets: sets}
	case ir.Intersect:
		return ir.Intersect{Sets: sortEach(s.Sets)}
	case ir.Minus:
		return ir.Minus{Left: sortUnions(s.Left), Right: sortUnions(s.Right)}
	default:
		return s
	}
}

func sortEach(sets []ir.Set) []ir.Set {
	var out []ir.Set
	for _, s := range sets {
		out = append(out, sortUnions(s))
	}
	return out
}

func compareClass(a, b Class) int {
	if a.Source != b.Source {
		return cmp.Compare(a.Source, b.Source)
	}
	if a.Strided != b.Strided {
		if b.Strided {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.Motion, b.Motion)
}

func classOf(s ir.Set) Class {
	switch s := s.(type) {
	case ir.Causal, ir.Window:
		return Class{Motion: WithRow}
	case ir.Sink:
		return Class{Motion: Constant}
	case ir.Columns:
		return Class{Motion: Constant, Strided: !s.Step.Equal(ir.Int(1))}
	case ir.Diagonals:
		return Class{Motion: WithRow, Strided: !s.Step.Equal(ir.Int(1))}
	case ir.Rows: // after windows and sinks, which then stay whole: few rows lose what is in both
		return Class{Motion: Mixed}
	case ir.Chosen:
		motions := [...]Motion{ir.ChosenColumns: Constant, ir.ChosenDistances: WithRow, ir.ChosenBlocks: Mixed,
			ir.ChosenSpans: Mixed, ir.ChosenKeys: Mixed}
		return Class{Motion: motions[s.Kind], Source: s.Source().Kind}
	case ir.Union:
		return joinClasses(s.Sets)
	case ir.Intersect:
		return joinClasses(s.Sets)
	case ir.Minus:
		return joinClasses([]ir.Set{s.Left, s.Right})
	default: // All
		return Class{}
	}
}

func joinClasses(sets []ir.Set) Class {
	out := Class{}
	for _, s := range sets {
		c := classOf(s)
		out.Strided = out.Strided || c.Strided
		out.Source = max(out.Source, c.Source)
		switch {
		case out.Motion == Still:
			out.Motion = c.Motion
		case c.Motion != Still && c.Motion != out.Motion:
			out.Motion = Mixed
		}
	}
	return out
}
