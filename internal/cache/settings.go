package cache

import (
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
