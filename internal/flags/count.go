package flags

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Count is a number of things on the command line, such as 4096, 32k (32768) or 1m (1048576).
type Count int

var countSuffixes = []struct {
	letter string
	factor int
}{{"k", 1 << 10}, {"m", 1 << 20}}

func (c *Count) UnmarshalText(text []byte) error {
	n, err := parseCount(string(text))
	if err != nil || n < 0 || n > math.MaxInt32 {
		return fmt.Errorf("%q is not a count, want an integer such as 4096, 32k (32768) or 1m (1048576)", text)
	}
	*c = Count(n)
	return nil
}

// parseCount reads a number with an optional sign and suffix.
func parseCount(text string) (int64, error) {
	digits, factor := strings.ToLower(text), int64(1)
	for _, s := range countSuffixes {
		if before, found := strings.CutSuffix(digits, s.letter); found {
			digits, factor = before, int64(s.factor)
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err == nil && (n > math.MaxInt64/factor || n < math.MinInt64/factor) {
		err = strconv.ErrRange
	}
	return n * factor, err
}
