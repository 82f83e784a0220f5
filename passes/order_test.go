package passes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

func TestRowOrder(t *testing.T) {
	for set, want := range map[string]ir.Order{
		"causal":                         ir.OrderLongestFirst,
		"window left n right 0":          ir.OrderLongestFirst,
		"all":                            ir.OrderAscending,
		"sink n":                         ir.OrderAscending,
		"minus\n      all\n      causal": ir.OrderAscending, // later rows have fewer keys
		"union":                          ir.OrderAscending,
	} {
		s, err := Run(parsePattern(t, "  param n = 9 min 1\n  keep\n    "+set+"\n"), Options{Tile: Fixed(tile128x64)})
		require.NoError(t, err)
		require.Equal(t, want, s.Order, set)
	}
}

// TestSegmentOrder: ranges before tests, moving before still.
func TestSegmentOrder(t *testing.T) {
	s, err := Run(parsePattern(t, `  param n = 9 min 1
  keep
    intersect
      causal
      union
        columns from 0 step n
        sink n
        window left n right 0
`), Options{Tile: Fixed(tile128x64)})
	require.NoError(t, err)
	require.Equal(t, `schedule test
  param n = 9 min 1
  tile 128x64 longest-first
  segment 0
    lo   q - n + 1
    hi   q + 1
  segment 1
    hi   n
    hi   q - n + 1
  segment 2
    lo   n
    hi   q - n + 1
    test k = 0 mod n
    hop  test 0
    never-full
`, s.String())
}
