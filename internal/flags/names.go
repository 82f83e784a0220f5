package flags

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/suggest"
	"github.com/minfc/minfc/runtime/device"
)

// Target is the value of --target: a target of the compiler, or auto.
type Target string

// Targets lists the values of --target.
func Targets() []string { return append([]string{compile.TargetAuto}, compile.Targets()...) }

// Selected is the target as packages runtime and bench take it, where none stands for the best.
func (t Target) Selected() string {
	if t == compile.TargetAuto {
		return ""
	}
	return string(t)
}

func (t *Target) UnmarshalText(text []byte) error {
	all := Targets()
	if !slices.Contains(all, string(text)) {
		return fmt.Errorf(`target must be one of "%s" but got %q%s`, strings.Join(all, `","`), text, targetAdvice(string(text), all))
	}
	*t = Target(text)
	return nil
}

// gpuName are the ways to write a GPU generation or its compute capability: sm_89, sm89, compute_90, 8.6.
var gpuName = regexp.MustCompile(`(?i)^(?:sm_?|compute_?)?([0-9]{1,2})\.?([0-9])[af]?$`)

// targetAdvice says what to give in place of a name that is no target.
func targetAdvice(name string, all []string) string {
	m := gpuName.FindStringSubmatch(name)
	if m == nil {
		return suggest.Hint(strings.ToLower(name), all)
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	best, oldest := "", compile.Targets()[0]
	for _, t := range compile.Targets() {
		if device.TargetRuns(t, major, minor) {
			best = t
		}
	}
	switch best {
	case "":
		return fmt.Sprintf(": no target runs on GPUs of compute capability %d.%d, %s code runs on 8.0 and every later one", major, minor, oldest)
	case oldest:
		return fmt.Sprintf(": %s code runs on GPUs of compute capability %d.%d, give --target %s or auto", best, major, minor, best)
	}
	return fmt.Sprintf(": %s code is for GPUs of compute capability %d.%d, and %s code runs there as well; give --target %s or auto", best, major, minor, oldest, best)
}

// DType is the value of --dtype.
type DType abi.DType

// DTypes lists the values of --dtype.
func DTypes() (out []string) {
	for _, t := range abi.DTypes() {
		out = append(out, t.String())
	}
	return out
}

func (d *DType) UnmarshalText(text []byte) error {
	if _, err := abi.ParseDType(string(text)); err != nil {
		return fmt.Errorf(`dtype must be one of "%s" but got %q%s`, strings.Join(DTypes(), `","`), text, dtypeAdvice(strings.ToLower(string(text))))
	}
	*d = DType(text)
	return nil
}

// otherDTypes are the names that other programs have for types: of ours, or, with "", of types that kernels do not take.
var otherDTypes = []struct {
	names *regexp.Regexp
	ours  abi.DType
}{
	{regexp.MustCompile(`^(torch\.)?(bf16|bfloat16|bfloat|bf_16|brain.*)$`), abi.BF16},
	{regexp.MustCompile(`^(torch\.)?(f16|fp16|float16|half|f_16|fp_16)$`), abi.F16},
	{regexp.MustCompile(`^(torch\.)?(t?f|fp|float|double|int|i|u|uint|f?e[0-9]m[0-9]|single|nvfp|mxfp)_?[0-9]*(_.*)?$`), ""},
	{regexp.MustCompile(`^e[0-9]m[0-9].*$`), ""},
}

func dtypeAdvice(name string) string {
	for _, o := range otherDTypes {
		switch {
		case !o.names.MatchString(name):
		case o.ours != "":
			return ", did you mean " + o.ours.String() + "?"
		default:
			return ": kernels take 16-bit inputs alone, convert q, k and v to bf16 or f16 (sums and softmax are float32 in any case)"
		}
	}
	return suggest.Hint(name, DTypes())
}
