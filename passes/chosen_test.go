package passes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

// chosenHead has two chosen sets of each kind.
const chosenHead = `  param n = 9 min 1
  index logits = probe last 64
  index probs = softmax logits
  index heat = sum probs over queries
  index trace = sum probs over diagonals
  index mq = pool mean q
  index mk = pool mean k
  index scores = blocks mq mk
  index c = top n from heat
  index c2 = above 1000 from heat
  index d = top n from trace
  index d2 = mass 900 from trace
  index b = top n from scores last 1
`

var listTile = ir.Tile{Rows: ir.BlockSize, Keys: 64}

// TestDisjointChosen: lists lose ranges by their bounds and earlier lists as a whole.
func TestDisjointChosen(t *testing.T) {
	for _, c := range []struct{ name, set, want string }{
		{
			"all kinds", "union\n        chosen columns c\n        chosen blocks b\n        chosen diagonals d",
			"from runs d, hi q + 1 | from blocks b, except runs d, hi q + 1 | from columns c, except runs d, except blocks b, hi q + 1",
		},
		{"two of a kind", "union\n        chosen columns c\n        chosen columns c2", "from columns c, hi q + 1 | from columns c2, except columns c, hi q + 1"},
		{"the same twice", "union\n        chosen columns c\n        intersect\n          chosen columns c\n          sink n", "from columns c, hi q + 1"},
		{"the same, cut at one bound", "union\n        intersect\n          chosen columns c\n          columns from n step 1\n        intersect\n          chosen columns c\n          sink n", "from columns c, hi q + 1"},
		{"a window", "union\n        chosen columns c\n        window left n right 0", "lo q - n + 1, hi q + 1 | from columns c, hi q - n + 1"},
		{"a sink", "union\n        chosen diagonals d\n        sink n", "hi q + 1, hi n | from runs d, lo n, hi q + 1"},
		{"everything", "union\n        chosen diagonals d\n        all", "hi q + 1"},
		{"cut by a difference", "minus\n        chosen diagonals d\n        sink n", "from runs d, lo n, hi q + 1"},
		{
			"runs in a window only", "union\n        chosen columns c\n        intersect\n          chosen diagonals d\n          window left n right 0",
			"from runs d, lo q - n + 1, hi q + 1 | from columns c, hi q - n + 1 | from columns c, except runs d, lo q - n + 1, hi q + 1",
		},
		{"in disjoint places", "intersect\n        chosen columns c\n        union\n          sink n\n          intersect\n            chosen columns c\n            columns from n step 1", "from columns c, hi q + 1"},
		{"kinds that never meet", "intersect\n        intersect\n          chosen columns c\n          sink n\n        intersect\n          chosen diagonals d\n          columns from n step 1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := parsePattern(t, chosenHead+"  keep\n    intersect\n      causal\n      "+c.set+"\n")
			got := ""
			s, err := Run(p, Options{Tile: Fixed(listTile), Verify: true, After: func(name, text string) {
				if name == "disjoint" {
					got = text
				}
			}})
			require.NoError(t, err)
			require.Equal(t, c.want, bandLines(got))
			require.NoError(t, s.Verify())
		})
	}
}

// TestChosenRefused: what would need two lists in one segment, or a range with holes, is refused with a way out.
func TestChosenRefused(t *testing.T) {
	const meet = ", and a kernel reads one list of chosen keys at a time; unite chosen sets with |, or intersect each with sets of known bounds alone"
	const away = " is taken away from another set, but what the data chose can only be added or cut; write what to keep as a union instead"
	for _, c := range []struct{ name, set, want string }{
		{"intersection", "intersect\n      chosen columns c\n      chosen diagonals d", "columns(c) meets diagonals(d)" + meet},
		{"of a kind", "intersect\n      chosen columns c\n      chosen columns c2", "columns(c) meets columns(c2)" + meet},
		{"inside a union", "intersect\n      chosen blocks b\n      union\n        sink 4\n        chosen diagonals d", "blocks(b) meets diagonals(d)" + meet},
		{"complement", "minus\n      causal\n      chosen columns c", "columns(c)" + away},
		{"complement within a list", "minus\n      chosen diagonals d\n      chosen columns c", "columns(c)" + away},
		{"complement in a union", "minus\n      all\n      union\n        sink n\n        chosen blocks b", "blocks(b)" + away},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Run(parsePattern(t, chosenHead+"  keep\n    "+c.set+"\n"), Options{Tile: Fixed(listTile), Verify: true})
			require.EqualError(t, err, `pattern "test": `+c.want)
		})
	}
}

// TestUnusedIndexIsDropped: a schedule computes only what its segments read; a pattern whose lists are absorbed is static.
func TestUnusedIndexIsDropped(t *testing.T) {
	s, err := Run(parsePattern(t, chosenHead+"  keep\n    intersect\n      causal\n      chosen blocks b\n"), Options{Tile: Fixed(listTile)})
	require.NoError(t, err)
	var names []string
	for _, d := range s.Index {
		names = append(names, d.Name)
	}
	require.Equal(t, []string{"mq", "mk", "scores", "b"}, names)
	s, err = Run(parsePattern(t, chosenHead+"  keep\n    union\n      causal\n      intersect\n        causal\n        chosen blocks b\n"), Options{Tile: Fixed(tile128x64)})
	require.NoError(t, err)
	require.Empty(t, s.Index)
}

func TestListsNeedTheirTile(t *testing.T) {
	_, err := Run(parsePattern(t, chosenHead+"  keep\n    chosen blocks b\n"), Options{Tile: Fixed(tile128x64)})
	require.EqualError(t, err, `pattern "test": the tile has 128 rows, but what the data chooses is listed for blocks of 64 rows; use a target with such tiles`)
}

// TestConstsReachTheIndex: a budget that is baked into the kernel is a number in the definitions.
func TestConstsReachTheIndex(t *testing.T) {
	p := parsePattern(t, "  const n = 9 min 1\n  index mq = pool mean q\n  index mk = pool mean k\n  index s = blocks mq mk\n  index b = top 2*n from s last n\n  keep\n    chosen blocks b\n")
	s, err := Run(p, Options{Tile: Fixed(listTile), Verify: true, Consts: map[string]int64{"n": 5}})
	require.NoError(t, err)
	require.Equal(t, "index b = top 10 from s last 5", s.Index[3].String())
	require.Equal(t, "index b = top 2*n from s last n", p.Index[3].String(), "the pattern stays")
}

// TestClassifyChosen: lists come after everything else, in the order of their kinds.
func TestClassifyChosen(t *testing.T) {
	text := ""
	_, err := Run(parsePattern(t, chosenHead+`  keep
    intersect
      causal
      union
        chosen columns c
        chosen blocks b
        intersect
          chosen diagonals d2
          diagonals from 0 step n
        diagonals from 0 step 3
        chosen diagonals d
        sink 3
`), Options{Tile: Fixed(listTile), After: func(name, after string) {
		if name == "classify" {
			text = after
		}
	}})
	require.NoError(t, err)
	require.Contains(t, text, `member 0: row-invariant range: sink(3)
member 1: translation-invariant strided: diagonals(0.. step 3)
member 2: translation-invariant chosen runs: diagonals(d)
member 3: translation-invariant strided chosen runs: diagonals(d2) & diagonals(0.. step n)
member 4: mixed chosen blocks: blocks(b)
member 5: row-invariant chosen columns: columns(c)
`)
}
