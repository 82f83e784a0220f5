package files

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// One file under two names is one file, also behind a link to its folder, and whether or not it is there.
func TestDistinct(t *testing.T) {
	dir := t.TempDir()
	in, link := filepath.Join(dir, "in"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(in, nil, 0o600))
	require.NoError(t, os.Symlink(dir, link))
	for _, c := range []struct {
		inputs, outputs []string
		want            string
	}{
		{[]string{in}, []string{filepath.Join(dir, "out")}, ""},
		{[]string{in, ""}, []string{"", "-", "-"}, ""},
		{nil, []string{os.DevNull, os.DevNull}, ""},
		{[]string{in}, []string{filepath.Join(dir, ".", "in")}, "it is also an input"},
		{[]string{in}, []string{filepath.Join(link, "in")}, "it is also an input"},
		{nil, []string{filepath.Join(dir, "new"), filepath.Join(link, "new")}, "it is also another output"},
	} {
		err := Distinct(c.inputs, c.outputs)
		if c.want == "" {
			require.NoError(t, err, "%v", c)
		} else {
			require.ErrorContains(t, err, c.want, "%v", c)
		}
	}
}

func TestWritable(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	require.NoError(t, os.WriteFile(there, []byte("old"), 0o600))
	require.NoError(t, Writable("", "-", there, filepath.Join(dir, "new")))
	require.ErrorContains(t, Writable("-", dir), "it is a directory")
	require.ErrorContains(t, Writable(filepath.Join(dir, "no", "new")), "its directory does not exist")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing but what was there")
}
