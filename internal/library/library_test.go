package library

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/patterns"
)

// TestEveryPatternIsDescribed: a file without a meaning, or a parameter without one, would leave a hole in the list.
func TestEveryPatternIsDescribed(t *testing.T) {
	list, err := List()
	require.NoError(t, err)
	require.Len(t, list, len(patterns.Names()))
	for _, p := range list {
		require.True(t, strings.HasSuffix(p.Meaning, "."), "%s: %q", p.Name, p.Meaning)
		if p.Name != "dense" && p.Name != "full" {
			require.Contains(t, p.Keeps, keeps, p.Name)
		}
		for _, q := range p.Params {
			require.NotEmpty(t, q.Meaning, "%s of %s", q.Name, p.Name)
			require.False(t, strings.HasSuffix(q.Meaning, "\n"))
		}
	}
}

func TestDescription(t *testing.T) {
	list, err := List()
	require.NoError(t, err)
	for _, p := range list {
		if p.Name != "dilated" {
			continue
		}
		require.False(t, p.Dynamic)
		require.Equal(t, []Param{
			{"window", 4096, false, "positions looked back over, gaps included; window / step keys (rounded up) are kept"},
			{"step", 4, true, "distance between two kept keys, the paper's dilation d; at least 1; known when the kernel is compiled"},
		}, p.Params)
	}
}

func TestForms(t *testing.T) {
	list := []Pattern{{Name: "p", Meaning: strings.Repeat("word ", 30) + "end.", Params: []Param{{"n", 3, true, "keys"}}}}
	var b strings.Builder
	require.NoError(t, Write(&b, list))
	for line := range strings.Lines(b.String()) {
		require.LessOrEqual(t, len(line), width+1)
	}
	require.Contains(t, b.String(), "\n                    word word")
	require.Contains(t, b.String(), "\n  const n=3         keys\n")

	data, err := JSON(list)
	require.NoError(t, err)
	var back []Pattern
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, list, back)
}
