package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The environment that settings come from.
const (
	FolderVariable = "MINFC_CACHE"      // a folder, or off
	SizeVariable   = "MINFC_CACHE_SIZE" // bytes of all files: "500M", "2G"
)

const defaultLimit = 1 << 30

// Default is the cache that the environment asks for, nil if there is none: the folder minfc in the user's cache folder.
func Default() *Cache {
	c, _ := fromEnvironment()
	return c
}

// fromEnvironment also says why there is no cache, or what of the environment was not understood.
func fromEnvironment() (c *Cache, why error) {
	dir := os.Getenv(FolderVariable)
	switch dir {
	case "off":
		return nil, fmt.Errorf("%s is off", FolderVariable)
	case "":
		own, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("there is no cache folder of the user (%w); name one with %s", err, FolderVariable)
		}
		dir = filepath.Join(own, "minfc")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	limit, err := parseSize(os.Getenv(SizeVariable))
	return Open(dir, limit), err
}

// parseSize reads bytes, with a letter for 1024, its square or its cube. The default takes the place of what it does not understand.
func parseSize(text string) (int64, error) {
	if text == "" {
		return defaultLimit, nil
	}
	digits := strings.TrimRight(text, "kKMG")
	shift := map[string]int{"": 0, "k": 10, "K": 10, "M": 20, "G": 30}
	by, ok := shift[text[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n <= 0 || n > (1<<62)>>by {
		return defaultLimit, fmt.Errorf("%s is %q, want a number of bytes such as 500M or 2G; it counts as 1G", SizeVariable, text)
	}
	return n << by, nil
}

// Kept are the files of a kind.
type Kept struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// Status says what there is.
type Status struct {
	On     bool            `json:"on"`
	Why    string          `json:"why,omitempty"` // it is off, or does not take anything
	Folder string          `json:"folder,omitempty"`
	Limit  int64           `json:"limit_bytes,omitempty"`
	Files  int             `json:"files"`
	Bytes  int64           `json:"bytes"`
	Kinds  map[string]Kept `json:"kinds"`
}

// StatusOf looks at the cache that the environment asks for. It makes the folder where there is none, to see whether that is possible.
func StatusOf() Status {
	s := Status{Kinds: map[string]Kept{Artifact: {}, Cubin: {}}}
	c, why := fromEnvironment()
	if why != nil {
		s.Why = why.Error()
	}
	if c == nil {
		return s
	}
	s.Folder, s.Limit = c.dir, c.limit
	all, err := c.list()
	for _, e := range all {
		if e.kind == "" {
			continue
		}
		k := s.Kinds[e.kind]
		s.Kinds[e.kind] = Kept{k.Files + 1, k.Bytes + e.bytes}
		s.Files, s.Bytes = s.Files+1, s.Bytes+e.bytes
	}
	if err == nil {
		err = c.writable()
	}
	if s.On = err == nil; err != nil {
		s.Why = fmt.Sprintf("nothing can be written there: %v", err)
	}
	return s
}

// writable says whether files can be made in the folder.
func (c *Cache) writable() error {
	f, err := c.create()
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
