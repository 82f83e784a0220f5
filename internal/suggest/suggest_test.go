package suggest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHint(t *testing.T) {
	names := []string{"sink", "window", "step"}
	require.Equal(t, ", did you mean step?", Hint("steps", names))
	require.Empty(t, Hint("temperature", names))
}
