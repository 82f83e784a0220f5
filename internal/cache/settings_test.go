package cache

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSettings(t *testing.T) {
	t.Setenv(FolderVariable, "")
	t.Setenv(SizeVariable, "")
	t.Setenv("HOME", "/home/somebody")
	t.Setenv("XDG_CACHE_HOME", "")
	own, err := os.UserCacheDir()
	require.NoError(t, err)
	require.Equal(t, &Cache{filepath.Join(own, "minfc"), 1 << 30}, Default())

	dir := t.TempDir()
	t.Setenv(FolderVariable, dir)
	t.Setenv(SizeVariable, "2M")
	require.Equal(t, &Cache{dir, 2 << 20}, Default())
	require.Equal(t, Status{On: true, Folder: dir, Limit: 2 << 20, Kinds: map[string]Kept{Artifact: {}, Cubin: {}}}, DefaultStatus())
	Default().Put(key, []byte("abc"))
	s := DefaultStatus()
	require.Equal(t, Kept{1, int64(headerBytes) + 3}, s.Kinds[Artifact])
	require.Equal(t, 1, s.Files)

	t.Setenv(SizeVariable, "lots")
	require.Equal(t, &Cache{dir, 1 << 30}, Default())
	require.True(t, DefaultStatus().On)
	require.Contains(t, DefaultStatus().Why, `MINFC_CACHE_SIZE is "lots", want a number of bytes such as 500M or 2G`)

	t.Setenv(FolderVariable, "off")
	require.Nil(t, Default())
	require.Equal(t, "MINFC_CACHE is off", DefaultStatus().Why)

	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	t.Setenv(FolderVariable, filepath.Join(file, "folder"))
	require.False(t, DefaultStatus().On)
	require.Contains(t, DefaultStatus().Why, "nothing can be written there: open "+file)

	t.Setenv(FolderVariable, "")
	t.Setenv("HOME", "")
	require.Nil(t, Default())
	require.Contains(t, DefaultStatus().Why, "name one with MINFC_CACHE")
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"": 1 << 30, "1": 1, "4096": 4096, "3k": 3 << 10, "500M": 500 << 20, "2G": 2 << 30} {
		got, err := parseSize(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"0", "-1", "M", "1T", "1MM", "1.5G", "9999999999G", "off"} {
		got, err := parseSize(text)
		require.Error(t, err, text)
		require.EqualValues(t, 1<<30, got, text)
	}
}

// The go command gives every program an id of its own, and ids of other build systems are not taken for one.
func TestBuildID(t *testing.T) {
	require.Regexp(t, goID, BuildID())
	require.NotRegexp(t, goID, "redacted")
	require.Empty(t, goBuildID(bytes.NewReader([]byte("no program"))))
}
