package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/plan"
)

const mixed = `{
  "schema": 1,
  "model": "a/model",
  "layers": [
    {
      "0": {"pattern": "vertical_slash", "params": {"vertical": 500, "slash": 700}, "score": 0.5},
      "2": {"pattern": "a_shape", "params": {"window": 64}},
      "10": {"pattern": "dense", "params": {}}
    },
    {
    }
  ]
}
`

// minferenceFile is laid out like MInference's own files.
const minferenceFile = `[{"0": ["vertical_and_slash", 1000, 6096, 0.33349305391311646], "1": ["stream_llm", 100, 800, 0.96484375]},
{"1": ["block_sparse", 1000, 6096, 1], "0": ["vertical_and_slash", 30, 800, 336.0]}]`

func read(t testing.TB, text string) *plan.Plan {
	t.Helper()
	p, err := plan.Read("p.json", []byte(text), nil)
	require.NoError(t, err)
	return p
}

func TestOwnFormatIsWrittenAsItWasRead(t *testing.T) {
	p := read(t, mixed)
	require.Equal(t, "a/model", p.Model)
	require.Len(t, p.Layers, 2)
	require.Equal(t, "vertical_slash vertical=500 slash=700", p.Layers[0][0].String())
	require.Equal(t, 0.5, p.Layers[0][0].Score)
	require.Equal(t, "a_shape sink=128 window=64", p.Layers[0][2].String())
	require.Empty(t, p.Layers[1])
	out, err := p.JSON()
	require.NoError(t, err)
	require.Equal(t, mixed, string(out))
}

func TestMInferenceFiles(t *testing.T) {
	p := read(t, minferenceFile)
	require.Equal(t, "vertical_slash vertical=1000 slash=6096", p.Layers[0][0].String())
	require.Equal(t, 0.33349305391311646, p.Layers[0][0].Score)
	require.Equal(t, "a_shape sink=100 window=800", p.Layers[0][1].String())
	require.Equal(t, "block_sparse topk=100", p.Layers[1][1].String())
	require.Equal(t, "vertical_slash vertical=30 slash=800", p.Layers[1][0].String())
	out, err := p.MInference()
	require.NoError(t, err)
	require.Equal(t, `[
  {
    "0": ["vertical_and_slash", 1000, 6096, 0.33349305391311646],
    "1": ["stream_llm", 100, 800, 0.96484375]
  },
  {
    "0": ["vertical_and_slash", 30, 800, 336],
    "1": ["block_sparse", 1000, 6096, 1]
  }
]
`, string(out))
	require.Equal(t, p, read(t, string(out)))

	own, err := p.JSON() // and by way of the other format
	require.NoError(t, err)
	back, err := read(t, string(own)).MInference()
	require.NoError(t, err)
	require.Equal(t, string(out), string(back))
}

// What MInference's files cannot say.
func TestMInferenceRefuses(t *testing.T) {
	const one = `{"schema": 1, "layers": [{"3": %s}]}`
	for _, c := range []struct{ text, want string }{
		{mixed, `no place for the name of the model, "a/model"`},
		{fmt.Sprintf(one, `{"pattern": "dense"}`), "layer 0, head 3: MInference has no pattern like dense"},
		{fmt.Sprintf(one, `{"pattern": "block_sparse", "params": {"topk": 50}}`), "topk of MInference's block_sparse is always 100, the plan has 50"},
	} {
		_, err := read(t, c.text).MInference()
		require.ErrorContains(t, err, c.want)
	}
	p := read(t, mixed)
	p.Default = plan.Head{Pattern: p.Layers[0][10].Pattern}
	_, err := p.JSON()
	require.ErrorContains(t, err, "no place for a default other than vertical_slash vertical=1000 slash=6096")
}

// planOf is a plan of one head.
func planOf(text string) string { return `{"schema": 1, "layers": [{"0": ` + text + `}]}` }

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "p.json:1:1: malformed JSON: unexpected end"},
		{"[{\n  \"0\": [\"stream_llm\", 1 2]}]", "p.json:2:25: malformed JSON: invalid character '2' after array element"},
		{"[\n  {\"é\": nul}\n]", "p.json:2:12: malformed JSON: invalid character '}' in literal null"},
		{"[{}]\n]", "p.json:2:1: malformed JSON: invalid character ']' after top-level value"},
		{"[{}", "p.json:1:4: malformed JSON: unexpected end"},
		{"3", "p.json:1:1: found 3, want a plan"},
		{"[{\n\"0\": [\"stream_\xe9lm\", 1, 8, 1]}]", "p.json:2:15: found the byte 0xe9, wanted UTF-8 text: save the file as UTF-8"},
		{"\ufeff[{}", "p.json:1:4: malformed JSON: unexpected end"},
		{"\ufeff", "p.json:1:1: malformed JSON: unexpected end"},
		{" \n", "p.json:2:1: malformed JSON: unexpected end"},
		{"\xff\xfe[\x00", "p.json: found UTF-16 text, wanted a head plan: save it as UTF-8"},
		{"MINFC\n", "p.json: found a compiled artifact, wanted a head plan"},
		{"pattern p { keep all }", "p.json: found the text of a pattern, wanted a head plan"},
		{"\x1f\x8b\x08", "p.json: found a gzip archive, wanted a head plan: unpack it first, with gunzip"},
		{"[]", "p.json:1:1: a plan of no layers"},
		{"{}", `a plan without its schema, want "schema": 1`},
		{"{}", "a plan without layers"},
		{`{"schema": 2, "layers": [{}]}`, "p.json:1:12: schema is 2, this version reads 1"},
		{`{"schema": 1, "layer": [{}]}`, `p.json:1:15: a plan has no field "layer", want schema, model, heads, heads_from, search, layers, did you mean layers?`},
		{`{"schema": 1, "model": 3, "layers": [{}]}`, "model: found 3, want a string"},
		{`{"schema": 1, "layers": {}}`, "layers: found an object, want a list"},
		{`{"schema": 1, "layers": [[]]}`, "layer 0: found a list, want an object"},
		{`[{"0": ["stream_llm", 1, 8, 1]}, null]`, "layer 1: found null, want an object"},
		{`[{"0": ["stream_llm", 1, 8, 1], "0": ["stream_llm", 1, 8, 1]}]`, `p.json:1:33: "0" is there twice`},
		{`[{"x": ["stream_llm", 1, 8, 1]}]`, `layer 0: "x" is not the number of a head`},
		{`[{"-1": ["stream_llm", 1, 8, 1]}]`, `"-1" is not the number of a head`},
		{`[{"01": ["stream_llm", 1, 8, 1]}]`, `"01" is not the number of a head`},
		{`[{"0": ["stream_lm", 1, 8, 1]}]`, `p.json:1:9: layer 0, head 0: unknown pattern "stream_lm", want one of vertical_and_slash, stream_llm, block_sparse, did you mean stream_llm?`},
		{`[{"0": ["flex_vertical_and_slash", [0.9, 4096], [0.9, 4096], 0.0]}]`, "chooses by mass, which no pattern of the library does"},
		{`[{"0": ["vertical_and_slash", 0, 8, 1]}]`, "p.json:1:8: layer 0, head 0, vertical_slash: vertical is a budget and must be at least 1 in a plan, got 0"},
		{`[{"0": ["vertical_and_slash", 8, -5, 1]}]`, "p.json:1:34: layer 0, head 0: slash is -5, want"},
		{`[{"0": ["vertical_and_slash", 8, 2000000000, 1]}]`, "slash is 2000000000, want 1073741824 at most"},
		{`[{"0": ["vertical_and_slash", 8, 1.5, 1]}]`, "found 1.5, want a whole number"},
		{`[{"0": ["vertical_and_slash", 8, 1]}]`, "layer 0, head 0 has 3 values, want 4"},
		{`[{"0": ["stream_llm", 8, 0, 1]}]`, "window must be at least 1, got 0"},
		{`[{"0": ["stream_llm", 8, 1, "x"]}]`, `score: found the string "x", want a number`},
		{planOf(`{"pattern": "vertical_slsh"}`), `p.json:1:44: layer 0, head 0: unknown pattern "vertical_slsh", want one of a_shape, block_means`},
		{planOf(`{"pattern": "vertical_slsh"}`), "did you mean vertical_slash?"},
		{planOf(`{"params": {}}`), "layer 0, head 0 has no pattern"},
		{planOf(`{"pattern": "dense", "parms": {}}`), "did you mean params?"},
		{planOf(`{"pattern": "dense", "params": []}`), "params: found a list, want an object"},
		{planOf(`{"pattern": "a_shape", "params": {"sinks": 3}}`), `unknown parameter "sinks"; did you mean "sink"?`},
		{planOf(`{"pattern": "a_shape", "params": {"sink": -3}}`), "sink must be at least 0, got -3"},
		{planOf(`{"pattern": "a_shape", "params": {"sink": 1e400}}`), "sink: found 1e400, want a whole number"},
		{planOf(`{"pattern": "block_sparse", "params": {"topk": 0}}`), "topk is a budget and must be at least 1"},
		{"[" + strings.Repeat(`{"0": 1},`, 20) + "{}]", "p.json: 10 more"},
	} {
		_, err := plan.Read("p.json", []byte(c.text), nil)
		require.ErrorContains(t, err, c.want, "%s", c.text)
	}
}

func TestByteOrderMarkMeansNothing(t *testing.T) {
	require.Equal(t, read(t, minferenceFile), read(t, "\ufeff"+minferenceFile))
	require.Equal(t, read(t, mixed), read(t, "\ufeff"+strings.ReplaceAll(mixed, "\n", "\r\n")))
}

func TestAssign(t *testing.T) {
	p := read(t, mixed)
	heads, missing, err := p.Assign(0, 11)
	require.NoError(t, err)
	require.Equal(t, []int{1, 3, 4, 5, 6, 7, 8, 9}, missing)
	require.Equal(t, "vertical_slash vertical=1000 slash=6096", heads[1].String())
	require.Equal(t, "dense", heads[10].String())
	_, missing, err = p.Assign(1, 2)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1}, missing)

	_, _, err = p.Assign(0, 10)
	require.EqualError(t, err, "layer 0 has an entry for head 10, the model has 10 query heads, counted from 0")
	p.Layers = p.Layers[:1]
	_, _, err = p.Assign(0, 10)
	require.EqualError(t, err, "the layer has an entry for head 10, the model has 10 query heads, counted from 0")
	p.Layers = read(t, mixed).Layers
	for _, layer := range []int{-1, 2} {
		_, _, err = p.Assign(layer, 11)
		require.EqualError(t, err, fmt.Sprintf("there is no layer %d, the plan has 2, counted from 0", layer))
	}
}

// A pattern of the user hides the library's pattern of its name, for heads without an entry, too.
func TestPatternsOfTheUser(t *testing.T) {
	mine := &ir.Pattern{Name: "vertical_slash", Keep: ir.Causal{}}
	known, err := plan.Library(mine)
	require.NoError(t, err)
	p, err := plan.Read("p.json", []byte(`{"schema": 1, "layers": [{"0": {"pattern": "vertical_slash"}}]}`), known)
	require.NoError(t, err)
	require.Same(t, mine, p.Layers[0][0].Pattern)
	_, _, err = p.Assign(0, 2)
	require.ErrorContains(t, err, `the layer, head 1, vertical_slash: unknown parameter "slash"`)
	_, err = plan.Read("p.json", []byte(minferenceFile), known)
	require.ErrorContains(t, err, `unknown parameter "slash"`)
}

// Whatever is read without an error is written, and read again as the same plan.
func FuzzRead(f *testing.F) {
	for _, text := range []string{mixed, minferenceFile, "[{}]", "{}", `{"schema": 1, "layers": [{"0": {"pattern": "strided", "params": {"stride": 9}, "score": -1e-9}}]}`} {
		f.Add([]byte(text))
	}
	known, err := plan.Library()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := plan.Read("p.json", data, known)
		if err != nil {
			require.NotContains(t, err.Error(), "internal:")
			require.Contains(t, err.Error(), "p.json:")
			return
		}
		out, err := p.JSON()
		require.NoError(t, err)
		again, err := plan.Read("p.json", out, known)
		require.NoError(t, err, "%s", out)
		require.Len(t, again.Layers, len(p.Layers))
		for i, layer := range p.Layers {
			require.Len(t, again.Layers[i], len(layer))
			for h, head := range layer {
				require.Equal(t, head.String(), again.Layers[i][h].String())
				require.Equal(t, head.Score, again.Layers[i][h].Score)
			}
		}
		if text, err := p.MInference(); err == nil {
			_, err := plan.Read("p.json", text, known)
			require.NoError(t, err, "%s", text)
		}
	})
}
