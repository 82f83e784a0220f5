package cache

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var key = NewKey(Artifact, "a", "bc")

func open(t *testing.T) *Cache { return Open(filepath.Join(t.TempDir(), "some", "folder"), 1<<20) }

func (c *Cache) path(k Key) string { return filepath.Join(c.dir, k.file()) }

// requireMakes wants nothing to be kept by the key, what is made to be kept then, and the file to be whole again.
func requireMakes(t *testing.T, c *Cache, what string) {
	t.Helper()
	_, there := c.Get(key)
	require.False(t, there, what)
	data, made, err := c.Make(key, func() ([]byte, error) { return []byte("made"), nil })
	require.NoError(t, err, what)
	require.True(t, made, what)
	require.Equal(t, "made", string(data), what)
	data, there = c.Get(key)
	require.True(t, there, what)
	require.Equal(t, "made", string(data), what)
}

func TestKeysAreOfAllParts(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range []Key{key, NewKey(Cubin, "a", "bc"), NewKey(Artifact, "ab", "c"), NewKey(Artifact, "a", "b", "c"), NewKey(Artifact, "bc", "a"),
		NewKey(Artifact, "a", "bc", ""), NewKey(Artifact)} {
		require.False(t, seen[k.file()], k.file())
		seen[k.file()] = true
		require.Equal(t, k.kind, kindOf(k.file()))
	}
	require.Equal(t, key, NewKey(Artifact, "a", "bc"))
}

func TestOnlyTheUserReadsIt(t *testing.T) {
	c := open(t)
	requireMakes(t, c, "an empty cache")
	folder, err := os.Stat(c.dir)
	require.NoError(t, err)
	file, err := os.Stat(c.path(key))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), folder.Mode().Perm())
	require.Equal(t, os.FileMode(0o600), file.Mode().Perm())
	found, err := os.ReadDir(c.dir)
	require.NoError(t, err)
	require.Len(t, found, 1, "nothing unfinished stays behind")
}

// A file cut short anywhere, or with any bit changed, is no file, and is written again.
func TestTornFilesAreMadeAgain(t *testing.T) {
	c := open(t)
	c.Put(key, []byte("made"))
	whole, err := os.ReadFile(c.path(key))
	require.NoError(t, err)
	damaged := [][]byte{append(bytes.Clone(whole), 0)}
	for n := range whole {
		damaged = append(damaged, whole[:n])
		for bit := range 8 {
			flipped := bytes.Clone(whole)
			flipped[n] ^= 1 << bit
			damaged = append(damaged, flipped)
		}
	}
	for i, d := range damaged {
		require.NoError(t, os.WriteFile(c.path(key), d, 0o600))
		requireMakes(t, c, fmt.Sprintf("damage %d", i))
	}
}

func TestForeignFilesAreMadeAgain(t *testing.T) {
	c := open(t)
	other := NewKey(Artifact, "another")
	c.Put(other, []byte("another's"))
	for what, place := range map[string]func(path string) error{
		"text":        func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("text\n"), 100), 0o644) },
		"another key": func(path string) error { return os.Link(c.path(other), path) },
		"a link":      func(path string) error { return os.Symlink(c.path(other), path) },
		"a pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) }, // reading it would wait for a writer
		"too much":    func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)) },
	} {
		c.Remove(key)
		require.NoError(t, place(c.path(key)), what)
		requireMakes(t, c, what)
	}
	data, there := c.Get(other)
	require.True(t, there)
	require.Equal(t, "another's", string(data))

	c.Remove(key) // a folder stays where it is, and nothing is kept
	require.NoError(t, os.MkdirAll(filepath.Join(c.path(key), "inside"), 0o700))
	data, made, err := c.Make(key, func() ([]byte, error) { return []byte("made"), nil })
	require.NoError(t, err)
	require.True(t, made)
	require.Equal(t, "made", string(data))
}

func TestFolderThatCannotBeMadeKeepsNothing(t *testing.T) {
	taken := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(taken, nil, 0o600))
	for _, c := range []*Cache{nil, Open(filepath.Join(taken, "folder"), 1<<20), Open(taken, 1<<20)} {
		for range 2 {
			data, made, err := c.Make(key, func() ([]byte, error) { return []byte("made"), nil })
			require.NoError(t, err)
			require.True(t, made)
			require.Equal(t, "made", string(data))
			c.Put(key, []byte("more"))
			c.Remove(key)
			_, there := c.Get(key)
			require.False(t, there)
		}
	}
}

func TestFailuresAreNotKept(t *testing.T) {
	c := open(t)
	wrong := errors.New("wrong")
	_, _, err := c.Make(key, func() ([]byte, error) { return []byte("half"), wrong })
	require.ErrorIs(t, err, wrong)
	require.Panics(t, func() { c.Make(key, func() ([]byte, error) { panic("a fault of the compiler") }) })
	requireMakes(t, c, "after failures")
}

// Goroutines that want the same wait for one of them.
func TestOneOfAProcessMakes(t *testing.T) {
	c := open(t)
	var builds atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			data, _, err := Open(c.dir, c.limit).Make(key, func() ([]byte, error) {
				builds.Add(1)
				time.Sleep(10 * time.Millisecond)
				return []byte("made"), nil
			})
			if err != nil || string(data) != "made" {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, builds.Load())
	require.Empty(t, flights.of)
}

// Whoever reads while others write, remove and damage finds what belongs to the key, or nothing.
func TestReadersNeverSeeAPart(t *testing.T) {
	dir := t.TempDir()
	content := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 10_000+n) }
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			c := Open(dir, 150_000) // room for some
			for i := range 150 {
				n := (i*7 + g) % 16
				k := NewKey(Cubin, fmt.Sprint(n))
				if data, there := c.Get(k); there && !bytes.Equal(data, content(n)) {
					t.Errorf("key %d has %d bytes of another", n, len(data))
				}
				switch {
				case i%50 == 49:
					c.Clear()
				case i%10 == 9:
					os.WriteFile(c.path(k), content(n), 0o600) // as a program that knows no better
				default:
					c.Put(k, content(n))
				}
			}
		})
	}
	all.Wait()
}
