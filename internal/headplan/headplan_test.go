package headplan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
)

const (
	two  = `{"schema": 1, "layers": [{"2": {"pattern": "near", "params": {"n": 9}}}, {"0": {"pattern": "dense"}}]}`
	near = "pattern near(n = 3) { keep causal & window(n) }\npattern dense { keep causal & window(7) }\n"
)

// written are files in a new folder, and the way to each.
func written(t *testing.T, files map[string]string) func(name string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return func(name string) string { return filepath.Join(dir, name) }
}

func read(t *testing.T) *File {
	t.Helper()
	at := written(t, map[string]string{"two.json": two, "near.minf": near})
	f, err := Read(at("two.json"), at("near.minf"))
	require.NoError(t, err)
	return f
}

// Without a number of heads a layer has as many as the plan names.
func TestHeadsOfLayers(t *testing.T) {
	layers, err := read(t).Heads(0)
	require.NoError(t, err)
	require.Len(t, layers, 2)
	require.Len(t, layers[1], 3)
	require.Equal(t, "near n=9", layers[0][2].String())
	layers, err = read(t).Heads(5)
	require.NoError(t, err)
	require.Len(t, layers[0], 5)
	_, err = read(t).Heads(2)
	require.ErrorContains(t, err, "two.json: layer 0 has an entry for head 2, the model has 2 query heads")
}

// A pattern of the file comes before the library's one of its name, and its warnings are seen.
func TestPatternsOfTheFileComeFirst(t *testing.T) {
	f := read(t)
	layers, err := f.Heads(3)
	require.NoError(t, err)
	art, err := f.Compile(compile.Options{Target: "sm_80", DType: abi.BF16, HeadDim: 16}, nil, layers...)
	require.NoError(t, err)
	sources := ""
	for _, m := range art.Manifest.Patterns {
		sources += m.Source + "\n"
	}
	require.Contains(t, sources, "pattern dense { keep causal & window(7) }")
	require.Contains(t, sources, "pattern vertical_slash(", "of heads without an entry, from the library")
}

func TestWhatIsShown(t *testing.T) {
	f := read(t)
	last, none := 1, 2
	first, end, err := f.Range(nil)
	require.NoError(t, err)
	require.Equal(t, []int{0, 2}, []int{first, end})
	_, _, err = f.Range(&none)
	require.ErrorContains(t, err, "two.json has no layer 2, it has 2, counted from 0")
	first, end, err = f.Range(&last)
	require.NoError(t, err)
	var b strings.Builder
	require.NoError(t, f.Write(&b, first, end))
	require.Regexp(t, `(?s)^layer +head +score +pattern\n1 +0 +0 +dense\nall +others `, b.String())
}

func TestFilesThatAreNoPlans(t *testing.T) {
	at := written(t, nil)
	_, err := Read(at("."), "")
	require.ErrorContains(t, err, "is a directory, wanted a head plan")
	_, err = Read(at("x.json"), "nowhere.minf")
	require.ErrorContains(t, err, "nowhere.minf", "the patterns are looked at first")
}
