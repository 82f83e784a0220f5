package campaign

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCases(t *testing.T) {
	t.Setenv(Variable, "")
	plain := 2
	if testing.Short() {
		plain = 1
	}
	require.Equal(t, plain, Cases(1, 2, 3))
	require.Equal(t, plain, Few(1, 2))
	t.Setenv(Variable, "1")
	require.Equal(t, 3, Cases(1, 2, 3))
	require.Equal(t, 2, Few(1, 2))
}
