package workload

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// The functions of hash.go and rotate.go, in the same order of operations.

func (k *kernel) mix(x Value) Value {
	x = k.Xor(x, k.LShr(x, 16))
	x = k.Mul(x, lower.I32(0x7feb352d))
	x = k.Xor(x, k.LShr(x, 15))
	x = k.Mul(x, lower.I32(0x846ca68b))
	return k.Xor(x, k.LShr(x, 16))
}

func (k *kernel) hash(place, index Value) Value {
	return k.mix(k.Add(place, k.Mul(index, lower.I32(step))))
}

func (k *kernel) bell(x Value) Value {
	const pairs = 0x00ff00ff
	sum := k.Add(k.And(x, lower.I32(pairs)), k.And(k.LShr(x, 8), lower.I32(pairs)))
	return k.Sub(k.Add(k.And(sum, lower.I32(0xffff)), k.LShr(sum, 16)), lower.I32(byteMean))
}

func (k *kernel) sincos(angle Value) (sin, cos Value) {
	quadrant := k.LShr(k.Add(angle, lower.I32(quarter/2)), 30)
	x := k.FMul(k.float(k.Sub(angle, k.Shl(quadrant, 30))), lower.F32(float64(radians)))
	y := k.FMul(x, x)
	s, c := k.FMul(k.polynomial(y, sinTerms), x), k.polynomial(y, cosTerms)
	even := k.ICmp(enum.IPredEQ, k.And(quadrant, lower.I32(1)), lower.I32(0))
	sin, cos = k.Select(even, s, c), k.Select(even, c, s)
	return k.flip(sin, k.LShr(quadrant, 1)), k.flip(cos, k.LShr(k.Add(quadrant, lower.I32(1)), 1))
}

func (k *kernel) polynomial(y Value, terms []float32) Value {
	sum := lower.F32(float64(terms[len(terms)-1]))
	for i := len(terms) - 2; i >= 0; i-- {
		sum = k.FAdd(k.FMul(sum, y), lower.F32(float64(terms[i])))
	}
	return sum
}

func (k *kernel) flip(x, bit Value) Value {
	b := k.Xor(k.Block.NewBitCast(x, types.I32), k.Shl(bit, 31))
	return k.Block.NewBitCast(b, types.Float)
}

func (k *kernel) float(x Value) Value { return k.Block.NewSIToFP(x, types.Float) }
