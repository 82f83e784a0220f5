package device

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The table is in order, and an older driver never reads newer text.
func TestPTXReleases(t *testing.T) {
	for i, r := range ptxReleases[1:] {
		before := ptxReleases[i]
		require.True(t, olderThan(before.ptx, r.ptx) && olderThan(before.cuda, r.cuda) && before.branch < r.branch, r)
	}
	require.False(t, olderThan("", "12.0"))
	require.False(t, olderThan("12.0", "of late"))
}
