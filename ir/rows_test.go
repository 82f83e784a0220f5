package ir

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRowProofs: what is said of rows holds for every call, the shortest one of a single query at position 0 included.
func TestRowProofs(t *testing.T) {
	f := NewFacts([]Param{{Name: "n"}, {Name: "m", Min: 3}}, nil)
	at := func(n int64) RowBound { return RowBound{Off: Int(n)} }
	fromEnd := func(n int64) RowBound { return RowBound{FromEnd: true, Off: Int(n)} }
	last := RowBound{FromEnd: true, Off: Int(0).Sub(Var("n"))}
	for _, c := range []struct {
		from, to    RowBound
		none, every bool
	}{
		{at(0), fromEnd(0), false, true},
		{at(-4), fromEnd(2), false, true},
		{at(1), fromEnd(0), false, false},
		{at(0), fromEnd(-1), false, false},
		{fromEnd(-1), at(1), false, false}, // row 0 of that call
		{fromEnd(-1), at(0), true, false},
		{fromEnd(0), fromEnd(4), true, false},
		{fromEnd(-2), fromEnd(-2), true, false},
		{at(7), fromEnd(-1), false, false},
		{at(3), RowBound{Off: Var("m")}, false, false},
		{RowBound{Off: Var("m")}, at(3), true, false},
		{last, fromEnd(0), false, false},
		{fromEnd(0), last, true, false},
		{last, last, true, false},
	} {
		s := Rows{From: c.from, To: &c.to}
		require.Equal(t, c.none, f.NoRow(s), "no row in %s", FormatSet(s))
		require.Equal(t, c.every, f.EveryRow(s), "every row in %s", FormatSet(s))
		_, some := f.withRowLower(Everything(), c.from)
		if some {
			_, some = f.withRowUpper(Segment{RowLo: []RowBound{c.from}}, c.to)
		}
		require.Equal(t, c.none, !some, "a band of %s", FormatSet(s))
	}
}

// TestRowsOfChunks: positions mean the same rows in every chunk of a prompt, and what counts from the end is of the last chunk.
func TestRowsOfChunks(t *testing.T) {
	s, err := ParseSchedule("schedule x\n  tile 32x16 ascending\n  segment 0\n    rows hi 50\n    hi   q + 1\n  segment 1\n    rows lo -9 from end\n    rows lo 50\n    hi   40\n")
	require.NoError(t, err)
	require.NoError(t, s.Verify())
	whole := Shape{Sq: 130, Sk: 130}
	for i := range whole.Sq {
		want, err := s.Row(nil, whole, i)
		require.NoError(t, err)
		chunk := Shape{Sq: 70, Sk: 130} // 0..69, then 70..129
		if i >= 70 {
			chunk = Shape{Sq: 60, Sk: 130, QOffset: 70}
		}
		got, err := s.Row(nil, chunk, i-chunk.QOffset)
		require.NoError(t, err)
		if i < 70-9 || i >= 70 {
			require.Equal(t, want, got, "row %d", i)
		} else {
			require.NotEqual(t, want, got, "row %d is among the last of its chunk", i)
		}
	}
}

// TestKeepsWantsAnEnd: rows that count from the end mean nothing without one.
func TestKeepsWantsAnEnd(t *testing.T) {
	p := &Pattern{Name: "p", Params: []Param{{Name: "n"}}, Keep: Rows{From: RowBound{FromEnd: true, Off: Int(0).Sub(Var("n"))}}}
	_, err := p.Keeps(map[string]int64{"n": 3})
	require.ErrorContains(t, err, "rows count from the end of a call (-n): use EndingAt")
	for n, first := range map[int64]int{0: 10, 3: 7, 10: 0, 11: 0, MaxParam: 0} {
		keep, err := p.EndingAt(10).Keeps(map[string]int64{"n": n})
		require.NoError(t, err)
		for q := range 10 {
			require.Equal(t, q >= first, keep(q, 5), "row %d of the last %d", q, n)
		}
	}
}
