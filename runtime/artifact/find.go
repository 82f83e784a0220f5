package artifact

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime/device"
)

// Select chooses what of an artifact is loaded. A zero field takes any; Target "" takes the newest that the device runs.
type Select struct {
	HeadDim int
	DType   abi.DType
	Target  string // "sm_80"
	Lengths bool   // kernels that read lengths from device memory, and no others; false: kernels that do not
}

// Find returns the number of the build that sel means on a device: of the builds that fit, the one with the newest target that the device
// runs with its driver. Passed says whether a newer one was passed over.
func (m *Manifest) Find(dev device.Info, sel Select) (build int, err error) {
	fits := m.fitting(sel)
	if len(fits) == 0 {
		return 0, fmt.Errorf("%w: want %s, it has %s; compile the pattern for that", ErrTarget, sel, m.list())
	}
	runs := slices.DeleteFunc(slices.Clone(fits), func(b int) bool { return m.RunsOn(b, dev) != nil })
	if len(runs) == 0 {
		return 0, fmt.Errorf("%w: %w", ErrTarget, m.RunsOn(fits[0], dev))
	}
	best := m.newestOf(runs)
	for _, b := range runs {
		if x, y := &m.Builds[b], &m.Builds[best]; x.HeadDim != y.HeadDim || x.DType != y.DType {
			return 0, fmt.Errorf("%w: %s fits several kernels, name the head dim and data type; it has %s", ErrTarget, sel, m.list())
		}
	}
	return best, nil
}

// Passed is why the device does not run the newest build that sel means and its GPU is made for: an old driver, most often. It is nil if
// Find returns that build, or none.
func (m *Manifest) Passed(dev device.Info, sel Select) error {
	made := slices.DeleteFunc(m.fitting(sel), func(b int) bool { return !device.TargetRuns(m.Builds[b].Target, dev.Major, dev.Minor) })
	if len(made) == 0 {
		return nil
	}
	if _, err := m.Find(dev, sel); err != nil {
		return nil
	}
	return m.RunsOn(m.newestOf(made), dev)
}

// fitting are the builds that sel means on some device.
func (m *Manifest) fitting(sel Select) (fits []int) {
	for i := range m.Builds {
		if m.Builds[i].matches(sel) {
			fits = append(fits, i)
		}
	}
	return fits
}

// newestOf is the first of the builds with the newest target.
func (m *Manifest) newestOf(builds []int) int {
	return slices.MaxFunc(builds, func(a, b int) int {
		return device.Capability(m.Builds[a].Target) - device.Capability(m.Builds[b].Target)
	})
}

// Select is what means this build and no other.
func (b *Build) Select() Select { return Select{b.HeadDim, b.DType, b.Target, b.Lengths} }

func (b *Build) matches(s Select) bool {
	return (s.HeadDim == 0 || s.HeadDim == b.HeadDim) && (s.DType == "" || s.DType == b.DType) && (s.Target == "" || s.Target == b.Target) && s.Lengths == b.Lengths
}

// String says what is wanted: "head dim 128, bf16, sm_80".
func (s Select) String() string {
	var parts []string
	if s.HeadDim != 0 {
		parts = append(parts, fmt.Sprintf("head dim %d", s.HeadDim))
	}
	for _, p := range []string{string(s.DType), s.Target} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if s.Lengths {
		parts = append(parts, "lengths in device memory")
	}
	if len(parts) == 0 {
		return "any kernel"
	}
	return strings.Join(parts, ", ")
}

// list names what Find chooses from.
func (m *Manifest) list() string {
	var builds []string
	for i := range m.Builds {
		builds = append(builds, "("+m.Builds[i].Select().String()+")")
	}
	return strings.Join(builds, " ")
}

// Attention are the kernels that compute the attention of a build and that it cannot do without: groups, and the patterns' own kernels.
func (m *Manifest) Attention(build int) (out []*Code) {
	for _, n := range m.Builds[build].Groups {
		out = append(out, &m.Codes[n])
	}
	for i := range m.Patterns {
		if c := m.Kernel(&m.Patterns[i].Lowered[build], abi.Attend); c != nil {
			out = append(out, c)
		}
	}
	return out
}

// RunsOn returns nil, or why the device cannot run a build.
func (m *Manifest) RunsOn(build int, dev device.Info) error {
	for _, c := range m.Attention(build) {
		if err := c.RunsOn(dev); err != nil {
			return err
		}
	}
	return nil
}

// RunsOn returns nil, or why the device cannot run a kernel.
func (c *Code) RunsOn(dev device.Info) error {
	if err := dev.CheckTarget(c.Target, c.PTXVersion); err != nil {
		return err
	}
	if c.SharedBytes > dev.MaxSharedBytes {
		return device.Unsupported("the kernel needs %d bytes of shared memory a block, %s has %d", c.SharedBytes, dev.Name, dev.MaxSharedBytes)
	}
	return nil
}
