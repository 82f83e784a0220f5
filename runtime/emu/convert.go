package emu

import "math"

// narrow truncates a value to an integer type and extends it again by the type's sign.
func narrow(x uint64, t ptxType) uint64 {
	shift := 64 - 8*t.bytes
	if t.signed {
		return uint64(int64(x<<shift) >> shift)
	}
	return x << shift >> shift
}

// convertInt makes dst from src, both integers. The result fills the destination register.
func convertInt(dst, src ptxType) func(uint64) uint64 {
	return func(x uint64) uint64 { return narrow(narrow(x, src), dst) }
}

// intToFloat rounds once to float32.
func intToFloat(src ptxType) func(uint64) uint64 {
	if src.signed {
		return func(x uint64) uint64 { return uint64(bits32(float32(int64(narrow(x, src))))) }
	}
	return func(x uint64) uint64 { return uint64(bits32(float32(narrow(x, src)))) }
}

// roundings are the integer rounding modes of cvt.
var roundings = map[string]func(float64) float64{
	"rni": math.RoundToEven, "rzi": math.Trunc, "rmi": math.Floor, "rpi": math.Ceil,
}

// floatToInt saturates; NaN gives 0.
func floatToInt(dst ptxType, round func(float64) float64) func(uint64) uint64 {
	bits := 8 * dst.bytes
	low, high := 0.0, math.Ldexp(1, bits)
	if dst.signed {
		low, high = -math.Ldexp(1, bits-1), math.Ldexp(1, bits-1)
	}
	return func(x uint64) uint64 {
		v := round(float64(f32(uint32(x))))
		switch {
		case v != v:
			return 0
		case v <= low && dst.signed:
			return uint64(int64(low))
		case v <= low:
			return 0
		case v >= high && dst.signed:
			return 1<<(bits-1) - 1
		case v >= high:
			return math.MaxUint64 >> (64 - bits)
		case dst.signed:
			return uint64(int64(v))
		}
		return uint64(v)
	}
}

// smallFloats converts the 16-bit floats.
var smallFloats = map[string]func(uint64) uint64{
	"f32.f16":  func(x uint64) uint64 { return uint64(bits32(fromF16(uint32(x)))) },
	"f32.bf16": func(x uint64) uint64 { return uint64(bits32(fromBF16(uint32(x)))) },
	"f16.f32":  func(x uint64) uint64 { return uint64(toF16(uint32(x))) },
	"bf16.f32": func(x uint64) uint64 { return uint64(toBF16(uint32(x))) },
}
