package ir

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGivenPatternText: what the caller gives has a text, which reads back as it was.
func TestGivenPatternText(t *testing.T) {
	p := GivenPattern(true)
	require.NoError(t, p.Verify())
	const text = `pattern given
  index spans = given spans
  index singles = given keys
  keep
    intersect
      causal
      union
        chosen spans spans
        chosen keys singles
`
	require.Equal(t, text, p.String())
	back, err := ParsePattern(text)
	require.NoError(t, err)
	require.Equal(t, p, back)
	require.Equal(t, "causal & (spans(spans) | keys(singles))", FormatSet(p.Keep))
	require.Equal(t, "spans(spans) | keys(singles)", FormatSet(GivenPattern(false).Keep))
}

func TestGivenIsVerified(t *testing.T) {
	twice := GivenPattern(false)
	twice.Index[1] = IndexDef{"singles", Given{GivenSpans}}
	require.ErrorContains(t, twice.Verify(), `index "spans" and "singles" are both given spans, and a call has one list of them`)
	require.ErrorContains(t, twice.Verify(), `the chosen keys "singles" are not defined`)
	unknown := GivenPattern(false)
	unknown.Index[0] = IndexDef{"spans", Given{7}}
	require.ErrorContains(t, unknown.Verify(), "it gives neither spans nor keys")
	_, err := EvalIndex(GivenPattern(true).Index, nil, HeadInputs[float32]{D: 1})
	require.ErrorContains(t, err, "the caller gives it")
	_, err = ParseIndexDef("index x = given blocks")
	require.ErrorContains(t, err, "want spans or keys")
}

// givenSchedule reads both lists, up to each query's position.
const givenSchedule = `schedule given
  index spans = given spans
  index singles = given keys
  tile 64x64 ascending
  segment 0
    from spans spans
    hi   q + 1
  segment 1
    from keys singles
    hi   q + 1
`

// TestGivenCounts: a schedule counts an entry of a list for itself, where a pattern says only what is kept; no list of the index stage may share
// pairs with another segment.
func TestGivenCounts(t *testing.T) {
	s, err := ParseSchedule(givenSchedule)
	require.NoError(t, err)
	require.NoError(t, s.Verify())
	require.Equal(t, givenSchedule, s.String())
	require.True(t, s.Given() && s.ByRowBlock() && s.Causal() && !s.EveryRowKeeps())
	launched, err := s.Bind(nil)
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	shape := Shape{Sq: 130, Sk: 160, QOffset: 30}
	var spans, keys [][]int
	for range 3 {
		draw := func(n int) (out []int) {
			for range n {
				out = append(out, rng.IntN(300)-80)
			}
			return out
		}
		spans, keys = append(spans, draw(rng.IntN(4))), append(keys, draw(rng.IntN(150)))
	}
	sel := &Selection{QOffset: 30, Sets: []Selected{{Name: "spans", Kind: ChosenSpans, Blocks: spans}, {Name: "singles", Kind: ChosenKeys, Blocks: keys}}}
	keeps, err := GivenPattern(true).KeepsWith(nil, sel)
	require.NoError(t, err)
	repeated := false
	for i := range shape.Sq {
		row, err := launched.RowWith(sel, shape, i)
		require.NoError(t, err)
		for k, got := range row {
			want := 0
			for _, s := range spans[i/BlockSize] {
				if s <= k && k < s+BlockSize {
					want++
				}
			}
			for _, x := range keys[i/BlockSize] {
				if x == k {
					want++
				}
			}
			if k > shape.QOffset+i {
				want = 0
			}
			repeated = repeated || want > 1
			require.Equal(t, want, int(got), "row %d, key %d", i, k)
			require.Equal(t, want > 0, keeps(shape.QOffset+i, k), "row %d, key %d", i, k)
		}
	}
	require.True(t, repeated)
}
