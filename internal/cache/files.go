package cache

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// staleAfter is when an unfinished file belongs to a program that died.
const staleAfter = time.Hour

// entry is a file of the cache.
type entry struct {
	name, kind string
	bytes      int64
	used       time.Time
}

// list is every file of ours in the folder. Unfinished files of programs that died have no kind.
func (c *Cache) list() (out []entry, err error) {
	found, err := os.ReadDir(c.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, f := range found {
		kind := kindOf(f.Name())
		if kind == "" && !strings.HasPrefix(f.Name(), unfinished) {
			continue
		}
		info, err := f.Info()
		if err != nil || !info.Mode().IsRegular() || kind == "" && time.Since(info.ModTime()) < staleAfter {
			continue
		}
		out = append(out, entry{f.Name(), kind, info.Size(), info.ModTime()})
	}
	return out, err
}

// evict removes what was not used for longest until an eighth of the limit is free, so that not every write removes something. The file
// that was just written stays. Whatever another process removes meanwhile is gone as well.
func (c *Cache) evict(written string) {
	all, _ := c.list()
	var total int64
	for _, e := range all {
		if e.kind == "" {
			os.Remove(filepath.Join(c.dir, e.name))
			continue
		}
		total += e.bytes
	}
	if total <= c.limit {
		return
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.name, b.name)) })
	for _, e := range all {
		if total <= c.limit-c.limit/8 {
			return
		}
		if e.kind != "" && e.name != written {
			os.Remove(filepath.Join(c.dir, e.name))
			total -= e.bytes
		}
	}
}

// Clear removes all files of the cache, and unfinished ones of programs that died. Files of others in the folder stay.
func (c *Cache) Clear() (removed Kept, err error) {
	if c == nil {
		return Kept{}, nil
	}
	all, err := c.list()
	errs := []error{err}
	for _, e := range all {
		if err := os.Remove(filepath.Join(c.dir, e.name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		removed = Kept{removed.Files + 1, removed.Bytes + e.bytes}
	}
	return removed, errors.Join(errs...)
}
