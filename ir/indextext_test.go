package ir_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

var indexLines = []string{
	"index logits = probe last 64",
	"index strides = probe stride 2*n + 1",
	"index probs = softmax logits",
	"index heat = sum probs over queries",
	"index slopes = sum probs over diagonals",
	"index cols = top vertical from heat first 30",
	"index from = top n from heat first n - 1 last n",
	"index many = mass 950 from heat last 4 most 2*vertical",
	"index some = above 1000 from slopes",
	"index mean_q = pool mean q",
	"index max_k = pool max k",
	"index wide_q = pool mean q over 128",
	"index tiles = blocks mean_q max_k",
	"index wide = blocks wide_q max_k",
	"index best = top n from tiles last 1",
	"index shares = softmax tiles",
	"index main = mass 900 from shares last 1",
	"index large = above 20 from shares most 7",
	"index enough = mass 20 from shares least 3",
	"index long = top min(2*n, floordiv(keys(), 16)) from tiles most max(4, plus(minus(keys(), n), times(n - 1, keys())))",
	"index squares = antidiagonals 16",
	"index square_probs = softmax squares",
	"index square_shares = sum square_probs over blocks",
	"index dense = mass 900 from square_shares last 1",
	"index stripes = sum probs over runs 64",
	"index near = top n from stripes first 2 most 40",
	"index close = near 700 from square_shares first 2 last 4 least n most 7",
	"index together = near 700 from stripes last 4 least n by group",
}

var indexParams = []ir.Param{{Name: "n", Min: 1, Default: 4}, {Name: "vertical", Default: 4}}

func parseIndex(t *testing.T, lines ...string) []ir.IndexDef {
	var defs []ir.IndexDef
	for _, line := range lines {
		d, err := ir.ParseIndexDef(line)
		require.NoError(t, err, line)
		require.Equal(t, line, d.String())
		defs = append(defs, d)
	}
	return defs
}

func TestIndexTextRoundTrip(t *testing.T) {
	defs := parseIndex(t, indexLines...)
	require.NoError(t, ir.VerifyIndex(defs, indexParams, nil))
	most := ir.Int(2).Mul(ir.Var("vertical"))
	require.Equal(t, ir.Select{Of: "heat", Rule: ir.TopP, N: ir.Int(950), Last: ir.Int(4), Most: most}, defs[7].Value)
	require.Equal(t, ir.Pool{Of: ir.TensorK, With: ir.ReduceMax, Rows: 64}, defs[10].Value)
}

func TestIndexTextErrors(t *testing.T) {
	for line, want := range map[string]string{
		"":                                `found the end of the line, want "index"`,
		"index 3 = probe last 1":          `found "3", want a name`,
		"index a = prob last 1":           `found "prob", want a value of the index stage`,
		"index a = probe first 1":         `found "first", want "last"`,
		"index a = sum b over keys":       `found "keys", want queries or diagonals or blocks or runs`,
		"index a = sum b over runs":       `found the end of the line, want a number`,
		"index a = pool min q":            `found "min", want mean or max`,
		"index a = pool mean q over n":    `found n, want a number`,
		"index a = top 3 of b":            `found "of", want "from"`,
		"index a = top big(3, 4) from b":  `found "big", want keys or floordiv or max or min or minus or plus or times`,
		"index a = top min(3) from b":     `found ")", want ","`,
		"index a = top 3 from b by head":  `found "head", want "group"`,
		"index a = top 3 from b last 3 x": `found "x" after the end`,
		"index a = top 3 from b last 1 !": `want a name, a number or an operator`,
	} {
		_, err := ir.ParseIndexDef(line)
		require.ErrorContains(t, err, want, line)
	}
}

func TestIndexTypes(t *testing.T) {
	defs := parseIndex(t, indexLines...)
	for name, want := range map[string]ir.ChosenKind{"cols": ir.ChosenColumns, "some": ir.ChosenDistances, "best": ir.ChosenBlocks} {
		kind, ok := ir.IndexType(defs, name)
		require.True(t, ok)
		got, ok := kind.Chosen()
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	kind, ok := ir.IndexType(defs, "heat")
	require.True(t, ok)
	require.Equal(t, "values over columns", kind.String())
	_, ok = kind.Chosen()
	require.False(t, ok)
	_, ok = ir.IndexType(defs, "none")
	require.False(t, ok)
}

func TestVerifyIndexFindsFaults(t *testing.T) {
	for lines, want := range map[string]string{
		"index a = softmax b":                                 `index "a": "b" is not defined before it`,
		"index a = probe last 0":                              "the probe's 0 may be below 1",
		"index a = probe stride vertical":                     "the probe's vertical may be below 1",
		"index a = probe last 64;index a = softmax a":         `index "a" is defined twice`,
		"index a = probe last z":                              `"z", which is no declared parameter`,
		"index a = pool mean q over 96":                       "a pool over 96 rows, want one over any of [64 128]",
		"index a = pool mean q;index b = softmax a":           `"a" is pooled queries, want scores`,
		"index a = probe last 1;index b = sum a over queries": `"a" is scores, want probabilities`,
		"index a = pool mean q;index b = blocks a a":          `"a" is pooled queries, want pooled keys`,
		"index a = probe last 1;index b = top 3 from a":       `"a" is scores, want values over`,
		"index a = pool mean q;index k = pool mean k;index b = blocks a k;index c = mass 3 from b":            "block scores are no shares of a whole",
		"index a = probe last 1;index p = softmax a;index s = sum p over queries;index c = top -n + 3 from s": "-n + 3 may be below 0",
	} {
		err := ir.VerifyIndex(parseIndex(t, strings.Split(lines, ";")...), indexParams, nil)
		require.ErrorContains(t, err, want, lines)
	}
	require.ErrorContains(t, ir.VerifyIndex([]ir.IndexDef{{Name: "a"}}, nil, nil), "there is no value")
	require.ErrorContains(t, ir.VerifyIndex([]ir.IndexDef{{Name: "a", Value: ir.Probe{}}}, nil, nil),
		"either a number of last queries or a stride")
}
