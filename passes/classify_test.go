package passes

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestClassify: members of a union are sorted by class, and each is named.
func TestClassify(t *testing.T) {
	text := after(t, "classify", parsePattern(t, `  param n = 9 min 1
  keep
    intersect
      causal
      union
        columns from 0 step n
        sink n
        diagonals from 0 to 3*n step n
        intersect
          sink 3
          window left 2 right 0
        columns from 4 to 4*n step 1
        window left n right 2
`), Options{})
	require.Contains(t, text, `member 0: translation-invariant range: window(n, 2)
member 1: row-invariant range: sink(n)
member 2: row-invariant range: columns(4..4*n)
member 3: mixed range: sink(3) & window(2, 0)
member 4: translation-invariant strided: diagonals(0..3*n step n)
member 5: row-invariant strided: columns(0.. step n)
`)
	require.Contains(t, after(t, "classify", parsePattern(t, "  keep\n    all\n"), Options{}), "member 0: everything range: all\n")
}
