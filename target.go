package minfc

import (
	"fmt"
	"strings"

	"github.com/minfc/minfc/codegen"
)

// TargetFor is the newest supported target that a device of compute capability major.minor runs.
func TargetFor(major, minor int) (string, error) {
	best, highest := "", 0
	for _, t := range codegen.Targets() {
		var capability int
		if _, err := fmt.Sscanf(t, "sm_%d", &capability); err == nil && capability <= 10*major+minor && capability > highest {
			best, highest = t, capability
		}
	}
	if best == "" {
		return "", fmt.Errorf("compute capability %d.%d is not supported, want that of %s or later", major, minor, strings.Join(codegen.Targets(), ", "))
	}
	return best, nil
}
