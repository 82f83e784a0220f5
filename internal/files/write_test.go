package files

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func names(t *testing.T, dir string) (list []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestWriteReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	require.NoError(t, Write(path, []byte("old")))
	require.NoError(t, os.Chmod(path, 0o666))
	require.NoError(t, Write(path, []byte("new")))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "new", string(got))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o666), info.Mode(), "an existing file keeps its mode, whatever the umask")
	require.Equal(t, []string{"out"}, names(t, dir), "nothing else stays behind")
}

func TestWriteFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(target, nil, 0o644))
	require.NoError(t, os.Symlink(target, link))
	require.NoError(t, Write(link, []byte("x")))
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeSymlink)
	got, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
}

func TestWriteFailureLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	require.NoError(t, os.MkdirAll(filepath.Join(taken, "inside"), 0o755))
	require.Error(t, writeAside(taken, []byte("x"), 0o644, false), "the rename fails")
	require.Equal(t, []string{"taken"}, names(t, dir))
	require.ErrorContains(t, Write(taken, nil), "it is a directory, name a file")
	err := Write(filepath.Join(dir, "no", "out"), nil)
	require.ErrorContains(t, err, "its directory does not exist")
	err = Write(filepath.Join(dir, "taken", "..", "taken", "x", "y"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// The paths of real devices stay out of Write here: were it wrong, a test run by root would replace them.
func TestWriteToAFullDevice(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full, a device that is always full")
	}
	err := plainWriteError("/dev/full", writeDirect("/dev/full", []byte("x")))
	require.ErrorContains(t, err, "cannot write /dev/full: the disk is full")
}

func TestWriteWritesPipesDirectly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	pipe, err := os.OpenFile(path, os.O_RDWR, 0) // a reader, so that writing does not wait for one
	require.NoError(t, err)
	defer pipe.Close()
	require.NoError(t, Write(path, []byte("x")))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeNamedPipe, "it is not replaced")
	got := make([]byte, 1)
	_, err = pipe.Read(got)
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
}

func TestPlainWriteErrors(t *testing.T) {
	for code, says := range map[syscall.Errno]string{
		syscall.ENOSPC: "the disk is full",
		syscall.EROFS:  "the file system is read-only",
		syscall.EDQUOT: "quota",
		syscall.EACCES: "no permission",
		syscall.ENOENT: "directory does not exist",
	} {
		err := plainWriteError("o.minf", &os.PathError{Op: "open", Path: "o.minf", Err: code})
		require.ErrorContains(t, err, "cannot write o.minf: ")
		require.ErrorContains(t, err, says)
		require.ErrorIs(t, err, code)
	}
}

// A program that ends early leaves neither a temporary file nor a part of a result, and nothing is begun afterwards.
func TestAbortWrites(t *testing.T) {
	defer func() { unfinished.names, unfinished.aborted = nil, false }()
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	require.NoError(t, Write(path, []byte("old")))
	f, err := unfinished.create(path, 0o666)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString("half")
	require.NoError(t, err)
	require.Len(t, names(t, dir), 2)

	AbortWrites()
	require.Equal(t, []string{"out"}, names(t, dir))
	require.ErrorIs(t, unfinished.finish(f.Name(), path), errAborted)
	require.ErrorIs(t, Write(path, []byte("new")), errAborted)
	require.ErrorIs(t, CheckWritable(filepath.Join(dir, "other")), errAborted)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(got))
	require.Equal(t, []string{"out"}, names(t, dir))
}

func TestCheckWritableLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, CheckWritable(filepath.Join(dir, "out")))
	require.Empty(t, names(t, dir))
	require.Empty(t, unfinished.names)
	require.ErrorContains(t, CheckWritable(filepath.Join(dir, "no", "out")), "its directory does not exist")
}
