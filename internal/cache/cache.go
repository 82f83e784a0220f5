// Package cache keeps what is slow to make, files of a folder of the user, for all programs that make the same. docs/design-cache.md has
// the reasons.
package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Kinds of what is kept; files begin with the name of their kind.
const (
	Artifact = "artifact" // a compiled pattern or plan
	Cubin    = "cubin"    // the code that a driver's compiler made of a module
)

// Key names what was made by all that it was made from.
type Key struct {
	kind string
	hash [sha256.Size]byte
}

// NewKey is the key of a kind and of the parts that it was made from; the same parts in another order are another key.
func NewKey(kind string, parts ...string) Key {
	h := sha256.New()
	for _, p := range append([]string{kind}, parts...) {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(p)))) // so that no two lists of parts run into the same bytes
		h.Write([]byte(p))
	}
	return Key{kind, [sha256.Size]byte(h.Sum(nil))}
}

func (k Key) file() string { return k.kind + "-" + hex.EncodeToString(k.hash[:]) }

// Cache is a folder. A nil Cache keeps nothing. It is safe for concurrent use, also by several processes.
type Cache struct {
	dir   string
	limit int64 // bytes of all files
}

// Open is the cache in a folder, which is made when something is first written. What cannot be read or written is not kept: no method fails
// for that.
func Open(dir string, limit int64) *Cache { return &Cache{dir, limit} }

// Get returns what is kept by a key. Files that are cut short, damaged or another's count as none.
func (c *Cache) Get(k Key) ([]byte, bool) {
	if c == nil {
		return nil, false
	}
	path := filepath.Join(c.dir, k.file())
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() < int64(headerBytes) || info.Size() > c.limit {
		return nil, false
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	data, ok := unwrap(k, file)
	if now := time.Now(); ok && now.Sub(info.ModTime()) > touchAfter {
		os.Chtimes(path, now, now) // used lately; where it cannot be said the file goes the sooner
	}
	return data, ok
}

// touchAfter is how old a file's time of last use may get: writing it at every use would wear the disk for nothing.
const touchAfter = time.Hour

// Put keeps data by a key, if it can.
func (c *Cache) Put(k Key, data []byte) {
	if c == nil || int64(headerBytes+len(data)) > c.limit {
		return
	}
	if c.write(k.file(), wrap(k, data)) == nil {
		c.evict(k.file())
	}
}

// Remove forgets what is kept by a key.
func (c *Cache) Remove(k Key) {
	if c != nil {
		os.Remove(filepath.Join(c.dir, k.file()))
	}
}

// write makes a file beside and renames it, so that a reader finds all of it or none. It does not wait for the disk: a file that a power
// cut leaves torn is found out by its checksum.
func (c *Cache) write(name string, file []byte) (err error) {
	f, err := c.create()
	if err != nil {
		return err
	}
	_, err = f.Write(file)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(c.dir, name))
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// create begins a file that has no name of its own yet. Only the user can read folder and file.
func (c *Cache) create() (*os.File, error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	return os.CreateTemp(c.dir, unfinished+"*") // mode 0600
}

// unfinished begins the names of files that are being written.
const unfinished = "unfinished-"

// A file is, with little-endian numbers:
//
//	"minfc cache file"
//	uint64   format version
//	uint64   bytes of the content
//	[32]byte sha256 of the key
//	[32]byte sha256 of the content
//	         the content
const (
	magic         = "minfc cache file"
	formatVersion = 1
	headerBytes   = len(magic) + 8 + 8 + 2*sha256.Size // 96, so that a cubin read with it is aligned
)

func wrap(k Key, data []byte) []byte {
	sum := sha256.Sum256(data)
	return append(append(header(k, len(data)), sum[:]...), data...)
}

// header is the file up to the checksum.
func header(k Key, bytes int) []byte {
	b := binary.LittleEndian.AppendUint64([]byte(magic), formatVersion)
	return append(binary.LittleEndian.AppendUint64(b, uint64(bytes)), k.hash[:]...)
}

// unwrap is the content of a file that wrap made for the key, whole.
func unwrap(k Key, file []byte) ([]byte, bool) {
	if len(file) < headerBytes {
		return nil, false
	}
	data := file[headerBytes:]
	sum := sha256.Sum256(data)
	return data, string(file[:headerBytes]) == string(append(header(k, len(data)), sum[:]...))
}

// Make returns what is kept by a key, or what build makes, which is kept then. Goroutines that ask for the same at a time wait for one of
// them; made says whether it was this call's build that made it.
func (c *Cache) Make(k Key, build func() ([]byte, error)) (data []byte, made bool, err error) {
	if c == nil {
		data, err = build()
		return data, true, err
	}
	path := filepath.Join(c.dir, k.file())
	f := join(path)
	f.once.Do(func() {
		defer leave(path)
		f.err = errors.New("the build of " + k.file() + " ended early") // stays where build panics
		if data, ok := c.Get(k); ok {
			f.data, f.err = data, nil
			return
		}
		made = true
		if f.data, f.err = build(); f.err == nil {
			c.Put(k, f.data)
		}
	})
	return f.data, made, f.err
}

// flight is something that is being made, and who waits for it.
type flight struct {
	once sync.Once
	data []byte
	err  error
}

var flights struct {
	sync.Mutex
	of map[string]*flight // by the path of the file
}

func join(path string) *flight {
	flights.Lock()
	defer flights.Unlock()
	if flights.of == nil {
		flights.of = map[string]*flight{}
	}
	f := flights.of[path]
	if f == nil {
		f = &flight{}
		flights.of[path] = f
	}
	return f
}

func leave(path string) {
	flights.Lock()
	defer flights.Unlock()
	delete(flights.of, path)
}

// kindOf is the kind of a file of the cache by its name, "" of others, which are left alone.
func kindOf(name string) string {
	for _, kind := range []string{Artifact, Cubin} {
		rest, is := strings.CutPrefix(name, kind+"-")
		if hash, err := hex.DecodeString(rest); is && err == nil && len(hash) == sha256.Size {
			return kind
		}
	}
	return ""
}
