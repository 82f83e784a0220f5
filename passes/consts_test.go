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
