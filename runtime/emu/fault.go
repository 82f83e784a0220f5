package emu

import (
	"fmt"
	"math/bits"
	"strings"
)

// Fault is what a kernel did wrong, and where. It ends the launch.
type Fault struct {
	Kernel string
	Block  [3]uint32
	Warp   int
	Lanes  uint32 // bit mask; 0 when the whole warp or block is concerned
	Line   int    // in the PTX text
	Text   string // the instruction
	Reason string
}

func (f *Fault) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "emulator: kernel %s, block (%d,%d,%d)", f.Kernel, f.Block[0], f.Block[1], f.Block[2])
	if f.Warp >= 0 {
		fmt.Fprintf(&s, ", warp %d", f.Warp)
	}
	if f.Lanes != 0 {
		fmt.Fprintf(&s, ", %s", laneList(f.Lanes))
	}
	if f.Line > 0 {
		fmt.Fprintf(&s, ", PTX line %d", f.Line)
	}
	fmt.Fprintf(&s, ": %s", f.Reason)
	if f.Text != "" {
		fmt.Fprintf(&s, "\n\t%s", f.Text)
	}
	return s.String()
}

// laneFault is a fault on its way up to the warp that knows the place.
type laneFault struct {
	lanes  uint32
	reason string
}

func (f *laneFault) Error() string { return f.reason }

func laneError(lanes uint32, format string, args ...any) error {
	return &laneFault{lanes, fmt.Sprintf(format, args...)}
}

func oneLane(lane int, format string, args ...any) error {
	return laneError(1<<lane, format, args...)
}

// laneList prints a mask as "lane 3" or "lanes 0-15,17".
func laneList(m uint32) string {
	if m == 0 {
		return "no lane"
	}
	var parts []string
	n := bits.OnesCount32(m)
	for i := 0; i < 32; i++ {
		if m>>i&1 == 0 {
			continue
		}
		j := i
		for j < 31 && m>>(j+1)&1 != 0 {
			j++
		}
		if j == i {
			parts = append(parts, fmt.Sprint(i))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", i, j))
		}
		i = j
	}
	if n == 1 {
		return "lane " + parts[0]
	}
	return "lanes " + strings.Join(parts, ",")
}

// folded is the text of an instruction on one line.
func folded(text string) string { return strings.Join(strings.Fields(text), " ") }
