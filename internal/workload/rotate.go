package workload

import "math"

// Angles are 32-bit fractions of a turn: they wrap as angles do, without any error at position one million.

// theta is the base of the rotary embedding of Llama 3: frequency f of D/2 is theta^(-2f/D) radians a token.
const theta = 500000

// frequencies returns the angle from one token to the next of each pair of columns, in turns / 2^32. Only products and
// sums of float64 are used, so that no machine rounds another way.
func frequencies(headDim int) []uint32 {
	ratio := root(1.0/theta, headDim/2)
	out := make([]uint32, headDim/2)
	for f, angle := 0, (1<<32)/(2*math.Pi); f < len(out); f++ {
		out[f] = uint32(angle)
		angle *= ratio
	}
	return out
}

// root is the n-th root of x in (0, 1], by bisection.
func root(x float64, n int) float64 {
	lo, hi := 0.0, 1.0
	for range 64 {
		mid := (lo + hi) / 2
		power := 1.0
		for range n {
			power *= mid
		}
		if power < x {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}

// Taylor terms of sin(x)/x and cos(x) in x^2: good to 3e-7 up to an eighth of a turn.
var (
	sinTerms = []float32{1, -1.0 / 6, 1.0 / 120, -1.0 / 5040}
	cosTerms = []float32{1, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320}
)

const (
	quarter = 1 << 30 // of a turn
	radians = float32(2 * math.Pi / (1 << 32))
)

// sincos is exact at multiples of a quarter turn. Every operation is rounded to float32 (the conversions keep the
// compiler from fusing), in the order in which the kernel has them.
func sincos(angle uint32) (sin, cos float32) {
	quadrant := (angle + quarter/2) >> 30
	x := float32(float32(int32(angle-quadrant<<30)) * radians)
	y := float32(x * x)
	sin, cos = float32(polynomial(y, sinTerms)*x), polynomial(y, cosTerms)
	if quadrant&1 != 0 {
		sin, cos = cos, sin
	}
	return flip(sin, quadrant>>1), flip(cos, (quadrant+1)>>1)
}

func polynomial(y float32, terms []float32) float32 {
	sum := terms[len(terms)-1]
	for i := len(terms) - 2; i >= 0; i-- {
		sum = float32(sum*y) + terms[i]
	}
	return sum
}

// flip changes the sign of x when the lowest bit is set.
func flip(x float32, bit uint32) float32 {
	return math.Float32frombits(math.Float32bits(x) ^ bit<<31)
}
