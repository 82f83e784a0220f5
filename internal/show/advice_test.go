package show

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const byMass = "top_p(0.9, sum(softmax(q[-64:] * k), queries))"

// adviceCases have for every rule a pattern that it speaks to and one like it that it does not.
var adviceCases = []struct {
	rule, source string
	set          map[string]int64
	n            int
	want         string // "" where the rule does not speak
}{
	{"keeps nothing", "pattern p { keep causal \\ all }", nil, 4096, "no pair is kept"},
	{"keeps nothing", "pattern p { keep causal & sink(1) }", nil, 4096, ""},
	{"adds nothing", "tri_shape", nil, 4096, "the first 128 keys (sink): this changes nothing"},
	{"adds nothing", "tri_shape", nil, 8192, ""},
	{"adds nothing", "pattern p { keep causal \\ (window(9) | sink(0)) }", nil, 4096, "the first 0 keys: this changes nothing"},
	{"free keys", "a_shape", map[string]int64{"window": 1000}, 4096, "a window of 1000 costs as many tiles as one of 1024"},
	{"free keys", "a_shape", map[string]int64{"sink": 100}, 4096, "a sink of 100 costs as many tiles as one of 128"},
	{"free keys", "a_shape", nil, 4096, ""},
	{"free keys", "a_shape", map[string]int64{"window": 5000, "sink": 100}, 4096, ""}, // the sink keeps nothing of its own
	{"free keys", "pattern p { keep causal \\ window(100) }", nil, 4096, ""},
	{"step below a tile", "strided", map[string]int64{"stride": 64}, 4096, "diagonals with a step of 64 skip no tile"},
	{"step below a tile", "strided", map[string]int64{"stride": 255}, 4096, "steps of 256 and more can"},
	{"step below a tile", "strided", map[string]int64{"stride": 256}, 4096, ""},
	{"step below a tile", "pattern p { keep causal & columns(0.. step 128) }", nil, 4096, "columns with a step of 128 skip no tile"},
	{"step below a tile", "pattern p { keep causal & columns(0.. step 129) }", nil, 4096, ""},
	{"step below a tile", "pattern p { keep causal \\ diagonals(1.. step 2) }", nil, 4096, ""},
	{"slower than dense", "strided", nil, 4096, "dense attention is predicted to be faster"},
	{"slower than dense", "a_shape", nil, 4096, ""},
	{"slower than dense", "dense", nil, 4096, ""},
	{"budget of all", "block_sparse", nil, 4096, "a budget of 100 key blocks chooses all 64"},
	{"budget of all", "block_sparse", nil, 8192, ""},
	{"budget of all", "slash_tiles", map[string]int64{"runs": 16}, 1024, "a budget of 16 runs of 64 distances chooses all 16"},
	{"budget of all", "slash_tiles", map[string]int64{"runs": 15, "vertical": 100}, 1024, ""},
	{"distances one by one", "vertical_slash", nil, 4096, "costs a tile of 64 keys in every row block"},
	{"distances one by one", "slash_tiles", nil, 4096, ""},
	{"no limit", "pattern p { index c = " + byMass + " keep causal & columns(c) }", nil, 1024, "nothing limits how many columns are chosen"},
	{"no limit", "pattern p { index c = " + byMass + " with most 100 keep causal & columns(c) }", nil, 1024, ""},
}

func TestAdvice(t *testing.T) {
	for _, c := range adviceCases {
		s := loaded(t, c.source, c.n, c.set)
		tiles, err := s.tiles()
		require.NoError(t, err)
		var times []Time
		if !s.dynamic() {
			times, _, err = s.times()
			require.NoError(t, err)
		}
		list, err := s.advise(tiles[len(tiles)-1], times)
		require.NoError(t, err)
		var said []string
		for _, a := range list {
			if a.Rule == c.rule {
				said = append(said, a.Text)
			}
		}
		if c.want == "" {
			require.Empty(t, said, "%s of %s %v", c.rule, c.source, c.set)
			continue
		}
		require.Contains(t, strings.Join(said, "\n"), c.want, "%s of %s %v", c.rule, c.source, c.set)
	}
}

// Steps of the size that the advice names skip tiles, smaller ones do not.
func TestStepsThatSkip(t *testing.T) {
	walked := func(source string) int64 {
		list, err := loaded(t, source, 4096, nil).tiles()
		require.NoError(t, err)
		return list[1].Full + list[1].Edge
	}
	all := walked("dense")
	require.Equal(t, all, walked("pattern p { keep causal & diagonals(0.. step 255) }"))
	require.Less(t, walked("pattern p { keep causal & diagonals(0.. step 256) }"), all)
	require.Equal(t, all, walked("pattern p { keep causal & columns(0.. step 128) }"))
	require.Less(t, walked("pattern p { keep causal & columns(0.. step 160) }"), all)
}
