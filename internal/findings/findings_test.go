package findings

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/dsl"
)

func TestPlaces(t *testing.T) {
	src := []byte("// é\npattern p { keep widow(4) }\n")
	_, _, err := dsl.Load("p.minf", src)
	f := Of("p.minf", src, nil, nil, err)
	require.False(t, f.OK)
	require.Len(t, f.Diagnostics, 1)
	require.Equal(t, 2, f.Diagnostics[0].Line)
	require.Equal(t, 18, f.Diagnostics[0].Column)
	line, column := dsl.Position([]byte("é x"), 3)
	require.Equal(t, [2]int{1, 3}, [2]int{line, column}, "columns count characters")
}

func TestOtherErrors(t *testing.T) {
	f := Of("p.minf", nil, nil, nil, errors.New("no such file"))
	require.Equal(t, "no such file", f.Error)
	data, err := JSON([]File{f})
	require.NoError(t, err)
	require.Contains(t, string(data), `"diagnostics": []`)
}

// A file is ok if the compiler takes it, and its warnings come as text as well.
func TestCheck(t *testing.T) {
	f, warnings, err := Check("a_shape", nil)
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Equal(t, []string{"a_shape"}, f.Patterns)

	path := filepath.Join(t.TempDir(), "p.minf")
	require.NoError(t, os.WriteFile(path, []byte("pattern p(n = 4) { keep causal }"), 0o600))
	f, warnings, err = Check(path, nil)
	require.NoError(t, err)
	require.True(t, f.OK)
	require.Contains(t, warnings, "W0501")
	require.Equal(t, "W0501", f.Diagnostics[0].Code)

	f, _, err = Check("dilated", map[string]int64{"step": 0})
	require.ErrorContains(t, err, "step must be at least 1")
	require.False(t, f.OK)
}

func TestExplain(t *testing.T) {
	text, err := Explain("e0203")
	require.NoError(t, err)
	require.Regexp(t, `(?s)^E0203: .*[^\n]$`, text)
	_, err = Explain("E0230")
	require.ErrorContains(t, err, "no diagnostic has the code E0230, did you mean")
}
