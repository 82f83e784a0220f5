package device

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
)

// target is a GPU generation: compute capability times ten, and whether code for it runs on that very one only ("sm_90a").
type target struct {
	capability int
	exact      bool
}

var targetName = regexp.MustCompile(`^sm_([1-9][0-9]{1,2})(a?)$`)

func targetOf(name string) target {
	m := targetName.FindStringSubmatch(name)
	if m == nil {
		return target{}
	}
	n, _ := strconv.Atoi(m[1]) // at most three digits
	return target{n, m[2] != ""}
}

// IsTarget says whether a name names a GPU generation: "sm_80", "sm_90a".
func IsTarget(name string) bool { return targetName.MatchString(name) }

// Capability is the compute capability, times ten, that a target is for; 0 for no target.
func Capability(target string) int { return targetOf(target).capability }

// TargetRuns says whether a device of compute capability major.minor runs code for a target: its own and earlier ones, but its
// own alone of the targets that end in "a". What the driver must bring besides is CheckTarget's matter.
func TargetRuns(target string, major, minor int) bool {
	t, have := targetOf(target), 10*major+minor
	return t.capability > 0 && (have == t.capability || have > t.capability && !t.exact)
}

// leastCapability is the compute capability, times ten, of the oldest GPUs that anything of ours runs on: kernels of the index stage
// are for it in every artifact.
const leastCapability = 80

// leastPTX is the PTX version of kernels for such GPUs.
const leastPTX = "7.4"

// TooOld says whether no code of minfc can run on the device, whatever its driver.
func (i Info) TooOld() bool { return 10*i.Major+i.Minor < leastCapability }

// ptxRelease says which drivers read a version of PTX: drivers for this CUDA version and later ones.
type ptxRelease struct {
	ptx, cuda string
	branch    int // of the driver, as nvidia-smi names it
}

// ptxReleases is the table of the release notes in NVIDIA's "PTX ISA".
var ptxReleases = []ptxRelease{
	{"7.0", "11.0", 450}, {"7.1", "11.1", 455}, {"7.2", "11.2", 460}, {"7.3", "11.3", 465}, {"7.4", "11.4", 470}, {"7.5", "11.5", 495},
	{"7.6", "11.6", 510}, {"7.7", "11.7", 515}, {"7.8", "11.8", 520}, {"8.0", "12.0", 525}, {"8.1", "12.1", 530}, {"8.2", "12.2", 535},
	{"8.3", "12.3", 545}, {"8.4", "12.4", 550}, {"8.5", "12.5", 555}, {"8.6", "12.7", 565}, {"8.7", "12.8", 570}, {"8.8", "12.9", 575},
	{"9.0", "13.0", 580},
}

// CheckTarget returns nil if the device, with its driver, runs code for a target that is written in a version of PTX ("sm_90a", "8.0").
// Else the error wraps ErrUnsupported and says what would help.
func (i Info) CheckTarget(target, ptx string) error {
	t := targetOf(target)
	switch {
	case i.TooOld():
		return Unsupported("%s is sm_%d%d, and no kernel of minfc runs below compute capability 8.0; use a newer GPU, or the emulator",
			i.Name, i.Major, i.Minor)
	case !TargetRuns(target, i.Major, i.Minor):
		return Unsupported("the kernel is for %s, %s is sm_%d%d; compile the pattern for a target that it runs, or for auto",
			target, i.Name, i.Major, i.Minor)
	}
	if err := i.checkPTX(target, ptx); err != nil {
		return err
	}
	if i.NoTensorMaps && t.exact { // kernels for Hopper copy with tensor maps
		return Unsupported("the NVIDIA driver (CUDA %s) cannot make the tensor maps of %s code, which came with CUDA 12.0 (driver 525); %s",
			i.DriverVersion, target, i.updateAdvice(t))
	}
	return nil
}

// reason is an error of a kind that its text does not begin with, so that it can end a sentence.
type reason struct {
	error
	kind error
}

func (r reason) Unwrap() []error { return []error{r.error, r.kind} }

// Unsupported is an error of kind ErrUnsupported, whose text does not begin with the kind's.
func Unsupported(format string, args ...any) error {
	return reason{fmt.Errorf(format, args...), ErrUnsupported}
}

// checkPTX compares the driver with what a version of PTX needs. It says nothing of devices without a driver, and of versions that are
// newer than the table.
func (i Info) checkPTX(target, ptx string) error {
	n := slices.IndexFunc(ptxReleases, func(r ptxRelease) bool { return r.ptx == ptx })
	if n < 0 || !olderThan(i.DriverVersion, ptxReleases[n].cuda) {
		return nil
	}
	return Unsupported("the NVIDIA driver of %s serves CUDA %s, and %s code (PTX %s) needs one for CUDA %s or later (driver %d); %s",
		i.Name, i.DriverVersion, target, ptx, ptxReleases[n].cuda, ptxReleases[n].branch, i.updateAdvice(targetOf(target)))
}

// updateAdvice says what helps against an old driver. Kernels for sm_80 are in older PTX.
func (i Info) updateAdvice(t target) string {
	if t.capability > leastCapability && i.checkPTX("sm_80", leastPTX) == nil {
		return "update the driver, or keep to sm_80 code, which runs with this one"
	}
	return "update the driver"
}

// olderThan compares CUDA versions such as "11.8". It is false if one of them is no version.
func olderThan(a, b string) bool {
	var x, y [2]int
	if n, _ := fmt.Sscanf(a, "%d.%d", &x[0], &x[1]); n != 2 {
		return false
	}
	if n, _ := fmt.Sscanf(b, "%d.%d", &y[0], &y[1]); n != 2 {
		return false
	}
	return slices.Compare(x[:], y[:]) < 0
}
