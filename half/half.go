// Package half converts between float32 and the two 16-bit formats kernels read: bfloat16 and IEEE binary16.
package half

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/x448/float16"

	"github.com/minfc/minfc/abi"
)

// Encode rounds values to the nearest representable ones, ties to even, and returns their little-endian bytes.
func Encode(t abi.DType, values []float32) ([]byte, error) {
	bits, err := toBits(t)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 2*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint16(out[2*i:], bits(v))
	}
	return out, nil
}

// Decode widens little-endian 16-bit values; it is exact. dst needs len(src)/2 elements.
func Decode(t abi.DType, dst []float32, src []byte) error {
	value, err := fromBits(t)
	if err != nil {
		return err
	}
	if len(src) != 2*len(dst) {
		return fmt.Errorf("internal: %d bytes do not hold %d 16-bit values", len(src), len(dst))
	}
	for i := range dst {
		dst[i] = value(binary.LittleEndian.Uint16(src[2*i:]))
	}
	return nil
}

// Rounding rounds to the nearest value of a type, which it gives as a float64; nil for an unknown type. Float64 is rounded to float32 on the way.
func Rounding(t abi.DType) func(float64) float64 {
	to, err := toBits(t)
	from, alsoErr := fromBits(t)
	if err != nil || alsoErr != nil {
		return nil
	}
	return func(v float64) float64 { return float64(from(to(float32(v)))) }
}

func toBits(t abi.DType) (func(float32) uint16, error) {
	switch t {
	case abi.BF16:
		return bf16Bits, nil
	case abi.F16:
		return func(v float32) uint16 { return float16.Fromfloat32(v).Bits() }, nil
	}
	return nil, fmt.Errorf("internal: unknown 16-bit format %q", string(t))
}

func fromBits(t abi.DType) (func(uint16) float32, error) {
	switch t {
	case abi.BF16:
		return func(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }, nil
	case abi.F16:
		return func(b uint16) float32 { return float16.Frombits(b).Float32() }, nil
	}
	return nil, fmt.Errorf("internal: unknown 16-bit format %q", string(t))
}

// bf16Bits adds half of the last kept place, less one when that place is even: ties go to even, and a carry moves
// into the exponent, up to infinity, as it should. A NaN keeps its sign and gets a quiet payload.
func bf16Bits(v float32) uint16 {
	b := math.Float32bits(v)
	if v != v {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}
