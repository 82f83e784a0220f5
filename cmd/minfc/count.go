package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// count is a number of things on the command line, such as 4096, 32k (32768) or 1m (1048576).
type count int

var countSuffixes = []struct {
	letter string
	factor int
}{{"k", 1 << 10}, {"m", 1 << 20}}

func (c *count) UnmarshalText(text []byte) error {
	digits, factor := strings.ToLower(string(text)), 1
	for _, s := range countSuffixes {
		if before, found := strings.CutSuffix(digits, s.letter); found {
			digits, factor = before, s.factor
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || n > uint64(math.MaxInt32/factor) {
		return fmt.Errorf("%q is not a count, want an integer such as 4096, 32k (32768) or 1m (1048576)", text)
	}
	*c = count(int(n) * factor)
	return nil
}
