package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/plan"
)

const searched = `{
  "schema": 1,
  "search": {"density": 0.25, "ms": 1.5, "dense_ms": 4, "error": 0.03, "gated": 2},
  "layers": [
    {
      "0": {"pattern": "a_shape", "params": {"window": 64}, "score": 0.98, "search": {"density": 0.125, "ms": 0.5, "error": 0.02}},
      "1": {"pattern": "dense", "params": {}}
    }
  ]
}
`

// What a search noted is written as it was read, and MInference's file has the score of it.
func TestWhatASearchNoted(t *testing.T) {
	p := read(t, searched)
	require.Equal(t, &plan.Total{Density: 0.25, Millis: 1.5, DenseMillis: 4, Error: 0.03, Gated: 2}, p.Search)
	require.Equal(t, &plan.Found{Density: 0.125, Millis: 0.5, Error: 0.02}, p.Layers[0][0].Found)
	require.Nil(t, p.Layers[0][1].Found)
	out, err := p.JSON()
	require.NoError(t, err)
	require.Equal(t, searched, string(out))

	delete(p.Layers[0], 1)
	theirs, err := p.MInference()
	require.NoError(t, err)
	require.Equal(t, "[\n  {\n    \"0\": [\"stream_llm\", 128, 64, 0.98]\n  }\n]\n", string(theirs))
}

func TestReadRefusesWhatNoSearchNotes(t *testing.T) {
	for noted, want := range map[string]string{
		`{"density": 1, "ms": 2}`:                           "search has 2 numbers, want all of density, ms, error",
		`{"density": -1, "ms": 2, "error": 0}`:              "search: density is -1, want none below 0",
		`{"density": "1", "ms": 2, "error": 0}`:             `search, density: found the string "1", want a number`,
		`{"density": 1, "ms": 2, "error": 0, "eror": 0}`:    `search has no field "eror", want density, ms, error, did you mean error?`,
		`{"density": 1, "ms": 2, "error": 0, "density": 1}`: `"density" is there twice`,
		`3`: "search: found 3, want an object",
	} {
		_, err := plan.Read("p.json", []byte(planOf(`{"pattern": "dense", "search": `+noted+`}`)), nil)
		require.ErrorContains(t, err, want, noted)
	}
}

func TestReadHeads(t *testing.T) {
	known, err := plan.Library()
	require.NoError(t, err)
	heads, err := plan.ReadHeads("c.json", []byte(`[{"pattern": "a_shape", "params": {"window": 9}}, {"pattern": "dense"}]`), known)
	require.NoError(t, err)
	require.Len(t, heads, 2)
	require.Equal(t, "a_shape sink=128 window=9", heads[0].String())
	for text, want := range map[string]string{
		`[]`:                        "c.json:1:1: a list of no heads, want one or more",
		`{}`:                        "c.json:1:1: heads: found an object, want a list",
		`[{"pattern": "a_shap"}]`:   `c.json:1:14: entry 0: unknown pattern "a_shap"`,
		`[{"pattern": "dense"}, 3]`: "c.json:1:24: entry 1: found 3, want an object",
		`[`:                         "c.json:1:2: malformed JSON",
	} {
		_, err := plan.ReadHeads("c.json", []byte(text), known)
		require.ErrorContains(t, err, want, text)
	}
}
