// Package files writes files so that nobody sees a part of one.
package files

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Write writes a file so that a reader sees the old content or the new one, never a part: it writes beside
// the file, syncs, and renames. When it fails, nothing new is left behind and the error says why in plain words.
// A path that is a device or pipe (/dev/stdout) is written directly. Links are followed.
func Write(path string, data []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	perm, old := os.FileMode(0o666), false
	if info, err := os.Stat(path); err == nil {
		if info.IsDir() {
			return fmt.Errorf("cannot write %s: it is a directory, name a file", path)
		}
		if !info.Mode().IsRegular() {
			return plainWriteError(path, writeDirect(path, data))
		}
		perm, old = info.Mode().Perm(), true
	}
	return plainWriteError(path, writeAside(path, data, perm, old))
}

// CheckWritable says whether Write can make a new file at path. It leaves nothing there, not even for a moment.
func CheckWritable(path string) error {
	f, err := unfinished.create(path, 0o666)
	if err != nil {
		return plainWriteError(path, err)
	}
	f.Close()
	unfinished.remove(f.Name())
	return nil
}

// AbortWrites removes the files that Write has begun, and keeps it from beginning or ending others: programs call it before
// they end early.
func AbortWrites() {
	unfinished.Lock()
	defer unfinished.Unlock()
	unfinished.aborted = true
	for name := range unfinished.names {
		os.Remove(name)
	}
}

// unfinished are the files that are being written.
var unfinished temporaries

type temporaries struct {
	sync.Mutex
	names   map[string]bool
	aborted bool
}

var errAborted = errors.New("the program is ending")

func (t *temporaries) create(path string, perm os.FileMode) (*os.File, error) {
	t.Lock()
	defer t.Unlock()
	if t.aborted {
		return nil, errAborted
	}
	f, err := createBeside(path, perm)
	if err == nil {
		if t.names == nil {
			t.names = map[string]bool{}
		}
		t.names[f.Name()] = true
	}
	return f, err
}

// finish gives a file its name.
func (t *temporaries) finish(name, path string) error {
	t.Lock()
	defer t.Unlock()
	if t.aborted {
		return errAborted
	}
	err := os.Rename(name, path)
	if err == nil {
		delete(t.names, name)
	}
	return err
}

func (t *temporaries) remove(name string) {
	t.Lock()
	defer t.Unlock()
	os.Remove(name)
	delete(t.names, name)
}

func writeAside(path string, data []byte, perm os.FileMode, old bool) (err error) {
	f, err := unfinished.create(path, perm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			unfinished.remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if old { // an existing file keeps its mode, whatever the umask
		if err = f.Chmod(perm); err != nil {
			return err
		}
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return unfinished.finish(f.Name(), path)
}

// createBeside makes a new file in path's directory, so that the rename stays inside one file system. Unlike
// os.CreateTemp it lets the umask decide the mode.
func createBeside(path string, perm os.FileMode) (f *os.File, err error) {
	for range 100 {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%08x", filepath.Base(path), rand.Uint32()))
		if f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm); !errors.Is(err, os.ErrExist) {
			break
		}
	}
	return f, err
}

func writeDirect(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

var writeReasons = []struct {
	kind error
	says string
}{
	{syscall.ENOSPC, "the disk is full; free some space or write elsewhere"},
	{syscall.EDQUOT, "the disk quota is used up; free some space or write elsewhere"},
	{syscall.EROFS, "the file system is read-only; write elsewhere"},
	{os.ErrPermission, "no permission to write there"},
	{os.ErrNotExist, "its directory does not exist; create it first"},
	{syscall.ENOTDIR, "a part of its path is not a directory"},
}

func plainWriteError(path string, err error) error {
	if err == nil {
		return nil
	}
	for _, r := range writeReasons {
		if errors.Is(err, r.kind) {
			return fmt.Errorf("cannot write %s: %s (%w)", path, r.says, err)
		}
	}
	return fmt.Errorf("cannot write %s: %w", path, err)
}
