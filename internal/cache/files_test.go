package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (c *Cache) total(t *testing.T) (bytes int64) {
	all, err := c.list()
	require.NoError(t, err)
	for _, e := range all {
		bytes += e.bytes
	}
	return bytes
}

func numbered(n int) Key { return NewKey(Cubin, fmt.Sprint(n)) }

// age makes a file look as if it was last used so long ago.
func (c *Cache) age(t *testing.T, k Key, by time.Duration) {
	when := time.Now().Add(-by)
	require.NoError(t, os.Chtimes(c.path(k), when, when))
}

// What was not used for longest goes first, and the folder stays below its limit.
func TestEvictionKeepsWhatWasUsedLast(t *testing.T) {
	c := Open(t.TempDir(), 10_000)
	for n := range 9 {
		c.Put(numbered(n), make([]byte, 1000))
		c.age(t, numbered(n), time.Duration(100-n)*time.Hour)
	}
	_, there := c.Get(numbered(0)) // the oldest, and now the last one used
	require.True(t, there)
	for n := 9; n < 40; n++ {
		c.Put(numbered(n), make([]byte, 1000))
		require.LessOrEqual(t, c.total(t), c.limit)
		_, there := c.Get(numbered(n))
		require.True(t, there, "what was just written")
		if n < 14 {
			_, there = c.Get(numbered(0))
			require.True(t, there, "what was used")
			_, there = c.Get(numbered(1))
			require.False(t, there, "what was not")
		}
		c.age(t, numbered(n), time.Duration(50-n)*time.Minute)
	}
	c.Put(numbered(40), make([]byte, 9_800))
	require.LessOrEqual(t, c.total(t), c.limit)
	_, there = c.Get(numbered(40))
	require.True(t, there, "it alone has room")
	c.Put(numbered(41), make([]byte, 10_000))
	_, there = c.Get(numbered(41))
	require.False(t, there, "it has none")
	_, there = c.Get(numbered(40))
	require.True(t, there, "and takes none")
}

// The time of the last use is not written at every use.
func TestUsesAreNotedRarely(t *testing.T) {
	c := Open(t.TempDir(), 10_000)
	c.Put(key, nil)
	for age, noted := range map[time.Duration]bool{touchAfter / 2: false, 2 * touchAfter: true} {
		c.age(t, key, age)
		before, err := os.Stat(c.path(key))
		require.NoError(t, err)
		_, there := c.Get(key)
		require.True(t, there)
		after, err := os.Stat(c.path(key))
		require.NoError(t, err)
		require.Equal(t, noted, after.ModTime().After(before.ModTime()), age)
	}
}

// Files of others stay whatever happens; unfinished ones go when their program must be dead.
func TestFilesOfOthersStay(t *testing.T) {
	c := Open(t.TempDir(), 10_000)
	old := time.Now().Add(-100 * staleAfter)
	for _, name := range []string{"notes.txt", "artifact-12", "cubin", unfinished + "new", unfinished + "old"} {
		path := filepath.Join(c.dir, name)
		require.NoError(t, os.WriteFile(path, make([]byte, 20_000), 0o600))
		if name != unfinished+"new" {
			require.NoError(t, os.Chtimes(path, old, old))
		}
	}
	names := func() (out []string) {
		found, err := os.ReadDir(c.dir)
		require.NoError(t, err)
		for _, f := range found {
			out = append(out, f.Name())
		}
		return out
	}
	c.Put(key, []byte("kept"))
	require.Equal(t, []string{"artifact-12", key.file(), "cubin", "notes.txt", unfinished + "new"}, names())
	removed, err := c.Clear()
	require.NoError(t, err)
	require.Equal(t, Kept{1, int64(headerBytes) + 4}, removed)
	require.Equal(t, []string{"artifact-12", "cubin", "notes.txt", unfinished + "new"}, names())
}
