package flags

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTimeLimits(t *testing.T) {
	for text, want := range map[string]TimeLimit{"12.5ms": {12.5, false}, "0.2x": {0.2, true}, "3x": {3, true}} {
		var got TimeLimit
		require.NoError(t, got.UnmarshalText([]byte(text)))
		require.Equal(t, want, got)
	}
	for text, want := range map[string]string{
		"0.2": `"0.2" has no unit, want milliseconds such as 12.5ms`, "": "has no unit", "3s": "has no unit",
		"0x": `"0x" is no time, want a number above 0`, "-1ms": "is no time", "NaNx": "is no time", "Infms": "is no time", "ax": "is no time",
	} {
		require.ErrorContains(t, new(TimeLimit).UnmarshalText([]byte(text)), want, text)
	}
}
