package search

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/plan"
)

// A search decides for each head by itself, so heads that choose together are no candidates; no built-in one does.
func TestCandidatesChooseAlone(t *testing.T) {
	known, err := plan.Library()
	require.NoError(t, err)
	require.NoError(t, checkChoices(BuiltIn(known, 4096)))
	err = checkChoices([]plan.Head{{Pattern: known["slash_tiles"]}, {Pattern: known["slash_tiles_shared"]}})
	require.ErrorContains(t, err, `choose "cols" of slash_tiles_shared together`)
	require.ErrorContains(t, err, "take a pattern without `shared by group`")
}
