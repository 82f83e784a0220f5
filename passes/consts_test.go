package passes

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestConstsAreBakedIn: values replace const parameters everywhere, and what they settle is gone.
func TestConstsAreBakedIn(t *testing.T) {
	p := parsePattern(t, `  const block = 64 min 1
  param n = 2 min 1
  const gap = 0 min 0
  require n - block >= -14 "n against block"
  require block - gap >= 1 "block beyond gap"
  require n + gap >= 1 "n and gap"
  keep
    columns from gap to n*block step block
`)
	require.Equal(t, `pattern test
  param n = 2 min 1
  require n - 16 >= -14 "n against block"
  keep
    columns from 0 to 16*n step 16
`, after(t, "consts", p, Options{Consts: map[string]int64{"block": 16}}))
}

// TestConstsBeyondTheLimit: a value that takes an expression beyond the limit is a fault of its caller, said in words about it.
func TestConstsBeyondTheLimit(t *testing.T) {
	p := parsePattern(t, `  const n = 2 min 0
  param m = 2 min 0
  keep
    union
      columns from 0 to n*n*n*n step 1
      columns from n*n*m step 1
`)
	_, err := Run(p, Options{Tile: Fixed(listTile), Consts: map[string]int64{"n": 32769}})
	require.ErrorContains(t, err, "with n = 32769, n*n*n*n is 1153062248537784321, beyond the limit of 1073741824")
	require.ErrorContains(t, err, "with n = 32769, m*n*n has a factor beyond the limit of 1073741824")
	require.NotContains(t, err.Error(), "internal")
	_, err = Run(p, Options{Tile: Fixed(listTile), Consts: map[string]int64{"n": 181}})
	require.NoError(t, err, "181^4 is just below the limit")
}

// TestConstSizesOfRuns: the size of runs is a number behind the pass, and one that runs cannot have is refused with its reason.
func TestConstSizesOfRuns(t *testing.T) {
	p := parsePattern(t, `  const width = 32 min 0
  param n = 4 min 0
  index logits = probe last 64
  index probs = softmax logits
  index stripes = sum probs over runs 2*width
  index d = top n from stripes
  keep
    intersect
      causal
      chosen diagonals d
`)
	s, err := Run(p, Options{Tile: Fixed(listTile), Consts: map[string]int64{"width": 24}})
	require.NoError(t, err)
	require.Contains(t, s.String(), "index stripes = sum probs over runs 48\n")
	for width, why := range map[int64]string{20: "a run has 40 distances, want a multiple of 16 from 16 to 128 with width = 20", 80: "a run has 160", 0: "a run has 0"} {
		_, err := Run(p, Options{Tile: Fixed(listTile), Consts: map[string]int64{"width": width}})
		require.ErrorContains(t, err, why)
		require.NotContains(t, err.Error(), "internal")
	}
}
