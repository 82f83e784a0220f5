package artifact

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/runtime/device"
)

// Select chooses a kernel of an artifact. A zero field takes any; Target "" takes the newest that the device runs.
type Select struct {
	HeadDim int
	DType   string // "bf16" or "f16"
	Target  string // "sm_80"
}

// Find returns the kernel that sel means on a device: of the kernels that fit, the one with the newest target that the device runs with its
// driver. Passed says whether a newer one was passed over.
func (m *Manifest) Find(dev device.Info, sel Select) (*Kernel, error) {
	fits := m.fitting(sel)
	if len(fits) == 0 {
		return nil, fmt.Errorf("%w: want %s, it has %s; compile the pattern for that", ErrTarget, sel, m.list())
	}
	runs := slices.DeleteFunc(slices.Clone(fits), func(k *Kernel) bool { return k.RunsOn(dev) != nil })
	if len(runs) == 0 {
		return nil, fmt.Errorf("%w: %w", ErrTarget, fits[0].RunsOn(dev))
	}
	best := newestOf(runs)
	for _, k := range runs {
		if k.HeadDim != best.HeadDim || k.DType != best.DType {
			return nil, fmt.Errorf("%w: %s fits several kernels, name the head dim and data type; it has %s", ErrTarget, sel, m.list())
		}
	}
	return best, nil
}

// Passed is why the device does not run the newest kernel that sel means and its GPU is made for: an old driver, most often. It is nil if
// Find returns that kernel, or none.
func (m *Manifest) Passed(dev device.Info, sel Select) error {
	made := slices.DeleteFunc(m.fitting(sel), func(k *Kernel) bool { return !device.TargetRuns(k.Target, dev.Major, dev.Minor) })
	if len(made) == 0 {
		return nil
	}
	if _, err := m.Find(dev, sel); err != nil {
		return nil
	}
	return newestOf(made).RunsOn(dev)
}

// fitting are the kernels that sel means on some device. The groups of a plan for one target are loaded together, so they count as one
// kernel with the needs of all.
func (m *Manifest) fitting(sel Select) (fits []*Kernel) {
	for i := range m.Kernels {
		if m.Kernels[i].matches(sel) {
			fits = append(fits, &m.Kernels[i])
		}
	}
	for i := range m.Groups {
		k := m.Groups[i].AsKernel()
		same := slices.IndexFunc(fits, func(f *Kernel) bool { return f.matches(m.Groups[i].Select()) })
		switch {
		case !k.matches(sel):
		case same < 0:
			fits = append(fits, &k)
		default:
			fits[same].SharedBytes = max(fits[same].SharedBytes, k.SharedBytes)
		}
	}
	return fits
}

// newestOf is the first of the kernels with the newest target.
func newestOf(kernels []*Kernel) *Kernel {
	return slices.MaxFunc(kernels, func(a, b *Kernel) int {
		return device.Capability(a.Target) - device.Capability(b.Target)
	})
}

func (k *Kernel) matches(s Select) bool {
	return (s.HeadDim == 0 || s.HeadDim == k.HeadDim) && (s.DType == "" || s.DType == k.DType) && (s.Target == "" || s.Target == k.Target)
}

// String says what is wanted: "head dim 128, bf16, sm_80".
func (s Select) String() string {
	var parts []string
	if s.HeadDim != 0 {
		parts = append(parts, fmt.Sprintf("head dim %d", s.HeadDim))
	}
	for _, p := range []string{s.DType, s.Target} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return "any kernel"
	}
	return strings.Join(parts, ", ")
}

// list names what Find chooses from.
func (m *Manifest) list() string {
	var kernels []string
	for _, k := range m.fitting(Select{}) {
		kernels = append(kernels, "("+Select{k.HeadDim, k.DType, k.Target}.String()+")")
	}
	return strings.Join(kernels, " ")
}

// RunsOn returns nil, or why the device cannot run k.
func (k *Kernel) RunsOn(dev device.Info) error {
	if err := dev.CheckTarget(k.Target, k.PTXVersion); err != nil {
		return err
	}
	if k.SharedBytes > dev.MaxSharedBytes {
		return device.Unsupported("the kernel needs %d bytes of shared memory a block, %s has %d", k.SharedBytes, dev.Name, dev.MaxSharedBytes)
	}
	return nil
}
