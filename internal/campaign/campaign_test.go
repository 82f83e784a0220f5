package campaign

import (
	"bytes"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCases(t *testing.T) {
	t.Setenv(Variable, "")
	plain := 2
	if testing.Short() {
		plain = 1
	}
	require.Equal(t, plain, Cases(1, 2, 3))
	require.Equal(t, plain, Few(1, 2))
	t.Setenv(Variable, "1")
	require.Equal(t, 3, Cases(1, 2, 3))
	require.Equal(t, 2, Few(1, 2))
}

var (
	function = regexp.MustCompile(`(?m)^func .*\n`)
	isTest   = regexp.MustCompile(`^func Test\w+\(t \*testing\.T\)`)
)

// TestTestsCallCases: a campaign in CI runs the tests that call Cases; what calls it for a test would be left out.
func TestTestsCallCases(t *testing.T) {
	root, found := os.DirFS("../.."), 0
	require.NoError(t, fs.WalkDir(root, ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "internal/campaign/") {
			return err
		}
		text, err := fs.ReadFile(root, path)
		for _, at := range function.FindAllIndex(text, -1) {
			body, _, _ := bytes.Cut(text[at[0]:], []byte("\n}\n"))
			if bytes.Contains(body, []byte("campaign.Cases(")) {
				require.Regexp(t, isTest, string(text[at[0]:at[1]]), path)
				found++
			}
		}
		return err
	}))
	require.Greater(t, found, 10)
}
