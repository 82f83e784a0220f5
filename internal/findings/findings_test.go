package findings

import (
	"errors"
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
	line, column := place([]byte("é x"), 3)
	require.Equal(t, [2]int{1, 3}, [2]int{line, column}, "columns count characters")
}

func TestOtherErrors(t *testing.T) {
	f := Of("p.minf", nil, nil, nil, errors.New("no such file"))
	require.Equal(t, "no such file", f.Error)
	data, err := JSON([]File{f})
	require.NoError(t, err)
	require.Contains(t, string(data), `"diagnostics": []`)
}
