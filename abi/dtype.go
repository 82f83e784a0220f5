package abi

import (
	"fmt"
	"slices"
	"strings"
)

// DType is the type of the elements of q, k, v and o, under the name that the command line, manifests and mma instructions have for it.
// Products accumulate in float32; P is rounded to the type for the second product.
type DType string

const (
	BF16 DType = "bf16"
	F16  DType = "f16"
)

// dtypes are the types that kernels take, and the size of an element in bytes.
var dtypes = []struct {
	DType
	size int
}{{BF16, 2}, {F16, 2}}

// DTypes lists the types that kernels take.
func DTypes() (out []DType) {
	for _, t := range dtypes {
		out = append(out, t.DType)
	}
	return out
}

// ParseDType is the type of a name.
func ParseDType(name string) (DType, error) {
	t := DType(name)
	return t, t.Check()
}

// Check says whether kernels take the type.
func (t DType) Check() error {
	if slices.Contains(DTypes(), t) {
		return nil
	}
	return fmt.Errorf("data type %q is not supported: want %s", string(t), JoinDTypes(" or "))
}

// JoinDTypes are the names of the types that kernels take, with a word between them.
func JoinDTypes(between string) string {
	var names []string
	for _, t := range DTypes() {
		names = append(names, string(t))
	}
	return strings.Join(names, between)
}

// Size is the size of an element in bytes, 0 of a type that kernels do not take.
func (t DType) Size() int {
	for _, known := range dtypes {
		if known.DType == t {
			return known.size
		}
	}
	return 0
}

func (t DType) String() string { return string(t) }

// Head dims that kernels are made for, in elements.
const (
	MinHeadDim  = 16
	MaxHeadDim  = 256
	HeadDimStep = 16
)

// HeadDims says in words which head dims kernels are made for.
func HeadDims() string {
	return fmt.Sprintf("a multiple of %d from %d to %d", HeadDimStep, MinHeadDim, MaxHeadDim)
}

// CheckHeadDim says whether kernels are made for a head dim.
func CheckHeadDim(d int) error {
	if d < MinHeadDim || d > MaxHeadDim || d%HeadDimStep != 0 {
		return fmt.Errorf("head dim %d is not supported: want %s", d, HeadDims())
	}
	return nil
}
