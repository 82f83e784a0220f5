package ir

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const aShapeSchedule = `schedule a_shape
  param sink = 128 min 0
  param window = 1024 min 1
  const block = 64 min 16
  require block*window - sink >= -3 "the \"odd\" one"
  tile 128x64 longest-first
  segment 0
    lo   q - window + 1
    hi   q + 1
  segment 1
    hi   sink
    hi   q - window + 1
    test q - k = 2*sink mod block
    test k != 0 mod window
    hop  test 0
    never-full
`

const aShapePattern = `pattern a_shape
  param sink = 128 min 0
  param window = 1024 min 1
  keep
    intersect
      causal
      union
        sink sink
        window left window right -1
        minus
          columns from from to to step step
          diagonals from -2*sink + 1 step 3
        union
      all
`

func TestTextRoundTrip(t *testing.T) {
	s, err := ParseSchedule(aShapeSchedule)
	require.NoError(t, err)
	require.Equal(t, aShapeSchedule, s.String())
	p, err := ParsePattern(aShapePattern)
	require.NoError(t, err)
	require.Equal(t, aShapePattern, p.String())
}
