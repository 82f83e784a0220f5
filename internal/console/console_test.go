package console

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestFullDisksAreNotMissed(t *testing.T) {
	c := New(full{}, &bytes.Buffer{})
	require.NoError(t, c.Failed())
	c.Printf("a result")
	c.ReportBeside()
	c.Printf("a report")
	require.EqualError(t, c.Failed(), "cannot write to standard output: no space left on device")
}

func TestResultsAndNotesAreApart(t *testing.T) {
	var stdout, stderr bytes.Buffer
	c := New(&stdout, &stderr)
	c.Note("%d tokens", 4)
	require.NoError(t, c.Write("-", []byte("tensors")))
	c.ReportBeside()
	c.Printf("report\n")
	require.Equal(t, "tensors", stdout.String())
	require.Equal(t, "4 tokens\nreport\n", stderr.String())

	path := filepath.Join(t.TempDir(), "out")
	require.NoError(t, c.Write(path, []byte("data")))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "data", string(data))
}
