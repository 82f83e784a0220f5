package suggest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNearest(t *testing.T) {
	names := []string{"sink", "window", "step"}
	for word, want := range map[string]string{
		"windw": "window", "window": "window", "sinks": "sink", "stpe": "step", "x": "", "budget": "", "": "",
	} {
		require.Equal(t, want, Nearest(word, names), "%q", word)
	}
	require.Equal(t, ", did you mean step?", Hint("steps", names))
	require.Empty(t, Hint("temperature", names))
}
