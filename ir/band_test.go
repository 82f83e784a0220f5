package ir

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// bandWorld draws bands over parameters a >= 1 and b >= 0 with a - b >= -2, and evaluates them by their definition.
type bandWorld struct {
	rng    *rand.Rand
	facts  Facts
	values map[string]int64
	end    int // of the call
}

func newBandWorld(seed uint64) *bandWorld {
	w := &bandWorld{rng: rand.New(rand.NewPCG(seed, 8))}
	w.end = 1 + int(seed%worldSize)
	params := []Param{{Name: "a", Min: 1}, {Name: "b"}}
	w.facts = NewFacts(params, []Require{{Value: Var("a").Sub(Var("b")), Min: -2}})
	a := 1 + int64(w.rng.IntN(8))
	w.values = map[string]int64{"a": a, "b": int64(w.rng.IntN(int(a) + 3))}
	return w
}

func (w *bandWorld) off() Poly {
	p := Int(int64(w.rng.IntN(9) - 4))
	switch w.rng.IntN(4) {
	case 0:
		return p.Add(Var("a"))
	case 1:
		return p.Sub(Var("a"))
	case 2:
		return p.Add(Var("b"))
	}
	return p
}

func (w *bandWorld) band() Segment {
	g := Everything()
	for range w.rng.IntN(3) {
		g.Lo = append(g.Lo, Bound{w.rng.IntN(2) == 0, w.off()})
	}
	for range w.rng.IntN(3) {
		g.Hi = append(g.Hi, Bound{w.rng.IntN(2) == 0, w.off()})
	}
	if w.rng.IntN(2) == 0 {
		for range w.rng.IntN(3) {
			g.RowLo = append(g.RowLo, RowBound{w.rng.IntN(2) == 0, w.off()})
		}
		for range w.rng.IntN(3) {
			g.RowHi = append(g.RowHi, RowBound{w.rng.IntN(2) == 0, w.off()})
		}
	}
	for range w.rng.IntN(3) {
		step := []Poly{Int(2), Int(4), Int(6), Int(3), Var("a"), Var("a").Mul(Int(2))}[w.rng.IntN(6)]
		g.Tests = append(g.Tests, Test{w.rng.IntN(2) == 0, w.off(), step, w.rng.IntN(2) == 0})
	}
	return g
}

const worldSize = 14

// pairs is the set of g for 0 <= q, k < worldSize, by the definition of Segment.
func (w *bandWorld) pairs(t *testing.T, g Segment) []bool {
	launched, err := g.bind(w.values)
	require.NoError(t, err)
	out := make([]bool, worldSize*worldSize)
	for i := range out {
		out[i] = launched.keeps(i/worldSize, i%worldSize, extent{worldSize, w.end})
	}
	return out
}

// TestBandAlgebraIsSound compares every operation with sets of pairs.
func TestBandAlgebraIsSound(t *testing.T) {
	empty, covered, merged := 0, 0, 0
	for seed := range uint64(6000) {
		w := newBandWorld(seed)
		a, b := w.band(), w.band()
		inA, inB := w.pairs(t, a), w.pairs(t, b)

		both, possible := w.facts.Intersect(Everything(), a)
		if possible {
			both, possible = w.facts.Intersect(both, b)
		}
		inBoth := make([]bool, len(inA))
		if possible {
			inBoth = w.pairs(t, both)
		} else {
			empty++
		}
		inPieces := make([]int, len(inA))
		pieces := w.facts.Subtract(b, a)
		for _, p := range pieces {
			for i, in := range w.pairs(t, p) {
				if in {
					inPieces[i]++
				}
			}
		}
		for i := range inA {
			if inBoth[i] != (inA[i] && inB[i]) {
				t.Fatalf("seed %d: wrong intersection at pair %d of\n%s", seed, i, bandText(a, b))
			}
			if want := inB[i] && !inA[i]; (inPieces[i] == 1) != want || inPieces[i] > 1 {
				t.Fatalf("seed %d: the difference has pair %d %d times of\n%s", seed, i, inPieces[i], bandText(a, b, pieces...))
			}
		}
		if w.facts.Covers([]Segment{a}, b) {
			covered++
			for i := range inA {
				require.True(t, inA[i] || !inB[i], "seed %d: not covered\n%s", seed, bandText(a, b))
			}
		}
		merged += w.checkMerges(t, seed, append(pieces, a))
	}
	require.Greater(t, empty, 500)
	require.Greater(t, covered, 50)
	require.Greater(t, merged, 200)
}

// checkMerges merges each two disjoint bands and compares with their union.
func (w *bandWorld) checkMerges(t *testing.T, seed uint64, bands []Segment) (merged int) {
	for i, a := range bands {
		for _, b := range bands[i+1:] {
			both, ok := w.facts.Merge(a, b)
			if !ok {
				continue
			}
			merged++
			want := w.pairs(t, a)
			for i, in := range w.pairs(t, b) {
				want[i] = want[i] || in
			}
			require.True(t, slices.Equal(want, w.pairs(t, both)), "seed %d: wrong merge of\n%s", seed, bandText(a, b, both))
		}
	}
	return merged
}

func bandText(a, b Segment, more ...Segment) string {
	s := Schedule{Name: "bands", Segments: append([]Segment{a, b}, more...)}
	return s.String()
}

// TestBandsOfUse pins simplifications that keep real schedules short.
func TestBandsOfUse(t *testing.T) {
	f := NewFacts([]Param{{Name: "step", Min: 1}, {Name: "n"}}, nil)
	parse := func(lines string) Segment {
		s, err := ParseSchedule("schedule x\n  tile 16x16 ascending\n  segment 0\n" + lines)
		require.NoError(t, err)
		return s.Segments[0]
	}
	for _, c := range []struct{ name, a, b, want string }{
		{"implied bound", "    lo   q - 5\n", "    lo   q - 5 - n\n", "    lo   q - 5\n"},
		{"stronger bound", "    hi   q + 1\n", "    hi   q - n\n", "    hi   q - n\n"},
		{"row bound above a fixed one", "    lo   q + 3\n", "    lo   2\n", "    lo   q + 3\n"},
		{"never below key 0", "    hi   q\n", "    lo   -3\n", "    hi   q\n"},
		{"adjacent", "    lo   q + 1\n", "    hi   q + 1\n", "empty"},
		{"before key 0", "    lo   q\n", "    hi   0 - n\n", "empty"},
		{"query 0 or later", "    lo   q + 4\n", "    hi   4\n", "empty"},
		{"negation", "    test k = 3 mod step\n", "    test k != step + 3 mod step\n", "empty"},
		{"other residue", "    test k = 3 mod 4\n", "    test k = 1 mod 4\n", "empty"},
		{"other residue of a divisor", "    test k = 3 mod 6\n", "    test k = 1 mod 4\n", "    test k = 3 mod 6\n    test k = 1 mod 4\n"},
		{"parity", "    test k = 3 mod 6\n", "    test k = 0 mod 4\n", "empty"},
		{"weaker step", "    test k = 3 mod 4\n", "    test k = 1 mod 2\n", "    test k = 3 mod 4\n"},
		{"step 1", "    hi   9\n", "    test q - k = n mod 1\n", "    hi   9\n"},
		{"not step 1", "    hi   9\n", "    test q - k != n mod 1\n", "empty"},
		{"between two residues", "    lo   1\n    hi   step\n", "    test k = 0 mod step\n", "empty"},
		{"distances between two residues", "    lo   q - step + 1\n    hi   q\n", "    test q - k = 0 mod step\n", "empty"},
		{"up to a residue", "    lo   q - step\n    hi   q\n", "    test q - k = 0 mod step\n", "    lo   q - step\n    hi   q\n    test q - k = 0 mod step\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, possible := f.Intersect(parse(c.a), parse(c.b))
			if c.want == "empty" {
				require.False(t, possible)
				return
			}
			require.True(t, possible)
			s := Schedule{Name: "x", Tile: Tile{16, 16}, Segments: []Segment{got}}
			require.Equal(t, "schedule x\n  tile 16x16 ascending\n  segment 0\n"+c.want, s.String())
		})
	}
}
