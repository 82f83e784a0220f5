package passes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/campaign"
)

// TestDisjoint: what a union or a difference falls into, one line a band. TestRandomPatterns checks that it is right; here it
// must also be short.
func TestDisjoint(t *testing.T) {
	for _, c := range []struct{ name, set, want string }{
		{"the sink loses the window", "union\n      sink n\n      window left n right 0", "lo q - n + 1, hi q + 1 | hi n, hi q - n + 1 | lo q + 1, hi n"},
		{"columns lose the sink", "union\n      columns from 0 step n\n      sink n", "hi n | lo n, test k = 0 mod n"},
		{"a part inside another", "union\n      window left 4 right 0\n      window left n + 4 right 0", "lo q - n - 3, hi q + 1"},
		{"neighbours", "union\n      columns from 0 to n step 1\n      columns from n to 2*n step 1", "hi 2*n"},
		{"all, in two halves", "union\n      diagonals from 0 step 1\n      minus\n        all\n        causal", "everything"},
		{"residues apart", "union\n      columns from 0 step 4\n      columns from 1 step 4", "test k = 0 mod 4 | lo 1, test k = 1 mod 4"},
		{"crossing strides", "union\n      columns from 0 step 4\n      diagonals from 0 step 4", "hi q + 1, test q - k = 0 mod 4 | test k = 0 mod 4, test q - k != 0 mod 4 | lo q + 1, test k = 0 mod 4, test q - k = 0 mod 4"},
		{"nothing left", "minus\n      sink n\n      columns from 0 step 1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := after(t, "disjoint", parsePattern(t, "  param n = 9 min 1\n  keep\n    "+c.set+"\n"), Options{})
			require.Equal(t, c.want, bandLines(text))
		})
	}
}

// bandLines joins the lines of each segment of a schedule by commas, and the segments by bars.
func bandLines(schedule string) string {
	var bands []string
	for _, segment := range strings.Split(schedule, "  segment ")[1:] {
		var lines []string
		for _, line := range strings.Split(strings.TrimSpace(segment), "\n")[1:] {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		if lines == nil {
			lines = []string{"everything"}
		}
		bands = append(bands, strings.Join(lines, ", "))
	}
	return strings.Join(bands, " | ")
}

// TestTooManyBands: many strided parts overlap in ways that no proof can order; the error says what to do.
func TestTooManyBands(t *testing.T) {
	var params, sets strings.Builder
	for i := range campaign.Few(8, 12) {
		fmt.Fprintf(&params, "  param p%d = 3 min 1\n", i)
		fmt.Fprintf(&sets, "      columns from p%d to 9*p%d step p%d\n", i, i, i)
	}
	text := params.String() + "  keep\n    union\n" + sets.String()
	start := time.Now()
	_, err := Run(parsePattern(t, text), Options{Tile: Fixed(tile128x64)})
	require.ErrorContains(t, err, `pattern "test": the set falls into`)
	require.ErrorContains(t, err, "64 are the limit; combine fewer parts that overlap")
	require.Less(t, time.Since(start), 30*time.Second) // 2 s alone; CI runs other tests beside it
}
