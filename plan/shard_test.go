package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/plan"
)

// windows is a plan of two layers whose heads have windows of 100 + their number; head 3 of layer 1 has no entry.
func windows(heads int, more string) string {
	var layers []string
	for l := range 2 {
		var own []string
		for h := range heads {
			if l == 0 || h != 3 {
				own = append(own, fmt.Sprintf(`"%d": {"pattern": "sliding", "params": {"window": %d}, "score": 0.5}`, h, 100+h))
			}
		}
		layers = append(layers, "{"+strings.Join(own, ", ")+"}")
	}
	return `{"schema": 1, "model": "m", ` + more + `"layers": [` + strings.Join(layers, ", ") + `]}`
}

// Every head of the model runs on one rank, as it does in the whole plan.
func TestShardsAreThePlan(t *testing.T) {
	const heads = 12
	whole := read(t, windows(heads, ""))
	for _, world := range []int{1, 2, 3, 4, 6, 12} {
		for layer := range 2 {
			all, _, err := whole.Assign(layer, heads)
			require.NoError(t, err)
			var got []plan.Head
			for rank := range world {
				own, err := whole.Shard(rank, world, 0)
				require.NoError(t, err)
				require.Equal(t, heads/world, own.Heads)
				require.Equal(t, rank*heads/world, own.HeadsFrom)
				part, _, err := own.Assign(layer, heads/world)
				require.NoError(t, err)
				got = append(got, part...)
			}
			require.Equal(t, all, got, "%d ranks, layer %d", world, layer)
		}
	}
}

// A shard can be written, read and cut again; the number of its head 0 counts in the model.
func TestShardOfAShard(t *testing.T) {
	half, err := read(t, windows(12, "")).Shard(1, 2, 12)
	require.NoError(t, err)
	text, err := half.JSON()
	require.NoError(t, err)
	require.Contains(t, string(text), "\"heads\": 6,\n  \"heads_from\": 6,\n")
	back := read(t, string(text))
	require.Equal(t, half, back)
	own, err := back.From(4, 2)
	require.NoError(t, err)
	require.Equal(t, 10, own.HeadsFrom)
	require.Equal(t, "sliding window=110", own.Layers[0][0].String())
	require.Equal(t, "m", own.Model)
	_, err = half.MInference()
	require.ErrorContains(t, err, "no place for the name")
	half.Model = ""
	_, err = half.MInference()
	require.ErrorContains(t, err, "no place for the number of heads, 6 from head 6 on")
}

// The heads are the ones of the model where these are more than the plan names.
func TestShardOfAModelWithMoreHeads(t *testing.T) {
	own, err := read(t, windows(5, "")).Shard(1, 2, 8)
	require.NoError(t, err)
	require.Equal(t, 4, own.HeadsFrom)
	heads, missing, err := own.Assign(0, 4)
	require.NoError(t, err)
	require.Equal(t, "sliding window=104", heads[0].String())
	require.Equal(t, []int{1, 2, 3}, missing)
}

func TestReadRefusesNumbersOfHeads(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"schema": 1, "heads": 0, "layers": [{}]}`, "p.json:1:24: heads is 0, want 1 to 65536"},
		{`{"schema": 1, "heads": "8", "layers": [{}]}`, `heads: found the string "8", want a whole number`},
		{`{"schema": 1, "heads_from": -1, "layers": [{}]}`, "p.json:1:29: heads_from is -1, want 0 to 65536"},
		{`{"schema": 1, "heads": 1, "layers": [{"1": {"pattern": "dense"}}]}`, "p.json:1:1: the layer has an entry for head 1, the model has 1 query heads"},
	} {
		_, err := plan.Read("p.json", []byte(c.text), nil)
		require.ErrorContains(t, err, c.want, "%s", c.text)
	}
}

func TestShardRefuses(t *testing.T) {
	five, said, none := read(t, windows(5, "")), read(t, windows(5, `"heads": 6, `)), read(t, `{"schema": 1, "layers": [{}]}`)
	for _, c := range []struct {
		of                 *plan.Plan
		rank, world, heads int
		want               string
	}{
		{five, 0, 2, 0, "5 query heads do not divide among 2 ranks"},
		{five, 0, 4, 6, "6 query heads do not divide among 4 ranks"},
		{five, 0, 2, -4, "-4 query heads do not divide among 2 ranks"},
		{five, 2, 2, 6, "there is no rank 2 of 2"},
		{five, -1, 2, 6, "there is no rank -1 of 2"},
		{five, 0, 0, 6, "there is no rank 0 of 0"},
		{five, 0, 2, 4, "layer 0 has an entry for head 4, the model has 4 query heads, counted from 0"},
		{five, 0, 1, 1 << 40, "are no range of query heads"},
		{said, 0, 2, 8, "the plan is for 6 query heads, here are 8"},
		{none, 0, 2, 0, "no layer of the plan has an entry, say how many query heads the model has"},
	} {
		_, err := c.of.Shard(c.rank, c.world, c.heads)
		require.ErrorContains(t, err, c.want)
	}
	for _, c := range []struct {
		of       *plan.Plan
		first, n int
		want     string
	}{
		{said, 4, 3, "there are no heads 4 to 6, the plan is for 6 query heads, counted from 0"},
		{five, -1, 3, "3 heads from head -1 on are no range of query heads"},
		{five, 1, 0, "0 heads from head 1 on are no range"},
		{five, 1 << 62, 1 << 62, "are no range"},
	} {
		_, err := c.of.From(c.first, c.n)
		require.ErrorContains(t, err, c.want)
	}
	own, err := said.Shard(0, 2, 0)
	require.NoError(t, err)
	_, _, err = own.Assign(0, 6)
	require.EqualError(t, err, "the plan is for 3 query heads, here are 6")
}
