package ir

import "errors"

// Given is a list that the caller has in device memory, for each row block of BlockSize queries of each head. docs/given.md has its meaning:
// every entry counts, so that a pair that two entries have counts twice. Type: given spans or keys.
type Given struct{ Of GivenList }

// GivenList is what the entries of a given list are.
type GivenList uint8

const (
	GivenSpans GivenList = iota // first keys of BlockSize keys each: any key
	GivenKeys                   // single keys
)

var givenWords = []string{GivenSpans: "spans", GivenKeys: "keys"}

// String is the word of the text form.
func (g GivenList) String() string { return wordOf(givenWords, int(g)) }

// Word is asked for by no pattern: lists are given by name.
func (Given) Word() string { return "given" }

// Operands are none: a list is given.
func (Given) Operands() []string { return nil }

func (x Given) text() string { return "given " + x.Of.String() }

func (c *cursor) given() Index { return Given{GivenList(c.oneOf(givenWords))} }

func (x Given) typed(map[string]IndexKind) (IndexKind, error) {
	switch x.Of {
	case GivenSpans:
		return KindSpans, nil
	case GivenKeys:
		return KindKeys, nil
	}
	return 0, errors.New("it gives neither spans nor keys")
}

func (Given) eval(*indexEval) (any, error) {
	return nil, errors.New("the caller gives it: nothing computes it from q and k")
}

// given checks that a call has one list for each definition.
func (c *checker) given(defs []IndexDef) {
	seen := map[Given]string{}
	for _, d := range defs {
		x, is := d.Value.(Given)
		if first, twice := seen[x]; is && twice {
			c.fail("index %q and %q are both given %s, and a call has one list of them", first, d.Name, x.Of)
		}
		if is {
			seen[x] = d.Name
		}
	}
}

// Given says whether the list is the caller's.
func (k SourceKind) Given() bool { return k == SourceSpans || k == SourceKeys }

// ByRowBlock says whether each row block has a list of its own, or bits, and not the whole head.
func (k SourceKind) ByRowBlock() bool { return k == SourceBlocks || k == SourceMeans || k.Given() }

// SingleKeys says whether the entries of the list are single keys, and its slots BlockSize of them.
func (k SourceKind) SingleKeys() bool { return k == SourceColumns || k == SourceKeys }

// RowWise says whether a slot is BlockSize rows that a kernel finds by their numbers in a list or a copy: single keys, or means.
func (k SourceKind) RowWise() bool { return k.SingleKeys() || k == SourceMeans }

// Given says whether the schedule reads lists of the caller.
func (s *Schedule) Given() bool {
	for _, l := range s.Lists() {
		if l.Kind.Given() {
			return true
		}
	}
	return false
}

// ByRowBlock says whether a list of the schedule is one a row block.
func (s *Schedule) ByRowBlock() bool {
	for _, l := range s.Lists() {
		if l.Kind.ByRowBlock() {
			return true
		}
	}
	return false
}

// apart says whether what two segments keep counts by itself even where it is the same pair: every entry of a given list counts, and means
// are no pairs.
func apart(a, b Segment) bool {
	if a.From.Kind == SourceMeans || b.From.Kind == SourceMeans {
		return true
	}
	return a.From.Kind.Given() && b.From.Kind.Given() && a.From != b.From
}

// GivenPattern keeps what the caller's spans and single keys say; with causal, of these the keys up to each query.
func GivenPattern(causal bool) *Pattern {
	lists := Union{[]Set{Chosen{"spans", ChosenSpans}, Chosen{"singles", ChosenKeys}}}
	p := &Pattern{Name: "given", Index: []IndexDef{{"spans", Given{GivenSpans}}, {"singles", Given{GivenKeys}}}, Keep: lists}
	if causal {
		p.Keep = Intersect{[]Set{Causal{}, lists}}
	}
	return p
}
