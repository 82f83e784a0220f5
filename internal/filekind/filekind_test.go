package filekind

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/patterns"
)

func TestOf(t *testing.T) {
	for text, want := range map[string]string{
		"":           "an empty file",
		"MINFC\n123": "a compiled artifact",
		"\x08\x00\x00\x00\x00\x00\x00\x00{\"q\":1}": "a safetensors file",
		"{\"schema\": 1}":             "JSON, as head plans are",
		"\ufeff [\n {\"0\": []}]":     "JSON, as head plans are",
		"[]":                          "JSON, as head plans are",
		"pattern p { keep all }":      "the text of a pattern",
		"\ufeff// c\n\n\tpattern p {": "the text of a pattern",
		"// only a comment":           "the text of a pattern",
		"PK\x03\x04zip":               "a zip archive, as torch.save writes them",
		"\x80\x02}q":                  "a Python pickle",
		"\x80\x05}q":                  "a Python pickle",
		"\x93NUMPY\x01":               "a NumPy array",
		"\x1f\x8b\x08":                "a gzip archive",
		"\xff\xfep\x00":               "UTF-16 text",
		"patern p { keep all }":       "",
		"{ keep all }":                "",
		" \n":                         "",
		"some other text":             "",
		"\x00\x01\x02":                "",
	} {
		require.Equal(t, want, Of([]byte(text)).String(), "%q", text)
	}
}

// Every kind has a name and says what to do.
func TestEveryKindHasAdvice(t *testing.T) {
	for k := Tensors; k < other+Kind(len(magics)); k++ {
		require.NotEmpty(t, k.String(), k)
		require.NotEmpty(t, k.Advice(), k)
	}
}

func TestPatternsOfTheLibraryArePatterns(t *testing.T) {
	for _, name := range patterns.Names() {
		_, src, _ := patterns.Source(name)
		require.Equal(t, Pattern, Of(src), name)
		require.NoError(t, Refuse(src, "a pattern", Pattern))
		require.ErrorContains(t, Refuse(src, "a head plan", Plan), "found the text of a pattern, wanted a head plan: a pattern is given as FILE")
	}
}
