package flags

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// TimeLimit is the value of --time: milliseconds, 12.5ms, or a part of the time of dense attention, 0.2x.
type TimeLimit struct {
	Value    float64
	Relative bool
}

func (l *TimeLimit) UnmarshalText(text []byte) error {
	digits, relative := strings.CutSuffix(string(text), "x")
	if !relative {
		var ms bool
		if digits, ms = strings.CutSuffix(digits, "ms"); !ms {
			return fmt.Errorf("%q has no unit, want milliseconds such as 12.5ms, or a part of the time of dense attention such as 0.2x", text)
		}
	}
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(v > 0) || math.IsInf(v, 0) {
		return fmt.Errorf("%q is no time, want a number above 0 and its unit, such as 12.5ms or 0.2x", text)
	}
	*l = TimeLimit{v, relative}
	return nil
}
