package selfcheck

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/qkv"
)

// device computes attention as a kernel may: products cut as tensor cores cut them, exponentials of float32, P rounded to the type
// and with fewer bits of fraction than it has where bits is less.
type device struct {
	format abi.DType
	bits   int
}

// down cuts x to a multiple of unit.
func down(x, unit float64) float64 { return math.Trunc(x/unit) * unit }

// dot sums 16 products at a time, each cut below 2^-23 of the largest of them.
func (device) dot(q, k []float32) float32 {
	sum := 0.0
	for i := 0; i < len(q); i += 16 {
		largest := math.Abs(sum)
		for j := i; j < i+16; j++ {
			largest = max(largest, math.Abs(float64(q[j])*float64(k[j])))
		}
		if largest == 0 {
			continue
		}
		_, e := math.Frexp(largest)
		unit := math.Ldexp(1, e-24)
		sum = down(sum, unit)
		for j := i; j < i+16; j++ {
			sum += down(float64(q[j])*float64(k[j]), unit)
		}
		sum = float64(float32(sum))
	}
	return float32(sum)
}

// rounded is P as the second product reads it.
func (d device) rounded(t *testing.T, p []float32) []float32 {
	p = slices.Clone(p)
	for i, x := range p {
		if d.bits > 0 && x > 0 {
			f, e := math.Frexp(float64(x))
			p[i] = float32(math.Ldexp(math.RoundToEven(math.Ldexp(f, d.bits+1)), e-d.bits-1))
		}
	}
	b, err := half.Encode(d.format, p)
	require.NoError(t, err)
	require.NoError(t, half.Decode(d.format, p, b))
	return p
}

// row attends one row, in float32, to the first n keys.
func (d device) row(t *testing.T, q, k, v []float32, n int, scale float32) (out []float32, lse float32) {
	dim, highest := len(q), float32(math.Inf(-1))
	p := make([]float32, n)
	for j := range p {
		p[j] = d.dot(q, k[j*dim:][:dim])
		highest = max(highest, p[j])
	}
	sum, mean := float32(0), make([]float64, dim)
	for j := range p {
		p[j] = float32(math.Exp(float64((p[j] - highest) * scale)))
		sum += p[j]
	}
	for j, x := range d.rounded(t, p) {
		for i := range mean {
			mean[i] += float64(x) * float64(v[j*dim+i])
		}
	}
	for _, x := range mean {
		out = append(out, float32(x/float64(sum)))
	}
	return out, highest*scale + float32(math.Log(float64(sum)))
}

// solve is a causal call of one head, with logits up to about size and values of about the given one.
func (d device) solve(t *testing.T, n, dim int, size, value float64, sign float32, seed uint64) Case {
	rng := rand.New(rand.NewPCG(seed, 7))
	in := &qkv.Input{Shape: qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: n, SeqK: n, HeadDim: dim}, Format: d.format}
	root := math.Sqrt(size / math.Sqrt(float64(dim)))
	fill := func(f func() float64) []byte {
		x := make([]float32, n*dim)
		for i := range x {
			x[i] = float32(f())
		}
		b, err := half.Encode(d.format, x)
		require.NoError(t, err)
		return b
	}
	in.Q = fill(func() float64 { return root * (1 - 0.1*rng.Float64()) })
	in.K = fill(func() float64 { return float64(sign) * root * (1 - 0.1*rng.Float64()) })
	in.V = fill(func() float64 { return value * rng.NormFloat64() })
	c := Case{In: in, Keep: func(q, k int) bool { return k <= q }, Scale: 1 / math.Sqrt(float64(dim))}
	return d.again(t, c)
}

// again computes the results of a causal case of one head.
func (d device) again(t *testing.T, c Case) Case {
	var x [3][]float32
	for i, b := range [][]byte{c.In.Q, c.In.K, c.In.V} {
		x[i] = make([]float32, len(b)/2)
		require.NoError(t, half.Decode(d.format, x[i], b))
	}
	var o []float32
	c.LSE = nil
	for i, dim := 0, c.In.HeadDim; i < c.In.SeqQ; i++ {
		row, l := d.row(t, x[0][i*dim:][:dim], x[1], x[2], i+1, float32(c.Scale))
		o, c.LSE = append(o, row...), append(c.LSE, l)
	}
	var err error
	c.O, err = half.Encode(d.format, o)
	require.NoError(t, err)
	return c
}

// change changes the output.
func change(t *testing.T, c *Case, f func(o []float32)) {
	o := make([]float32, len(c.O)/2)
	require.NoError(t, half.Decode(c.In.Format, o, c.O))
	f(o)
	var err error
	c.O, err = half.Encode(c.In.Format, o)
	require.NoError(t, err)
}

// sizes are logits that each type can have.
var sizes = map[abi.DType][]float64{
	abi.BF16: {1, 30, 1e3, 1e4, 1e6, 1e8, 1e12, 1e20, 1e30, 1e36},
	abi.F16:  {1, 30, 1e3, 1e4, 1e6, 1e8, 1e10},
}

// spoiled is a copy of a solved case with a change.
func spoiled(c Case, f func(c *Case)) Case {
	c.O, c.LSE = slices.Clone(c.O), slices.Clone(c.LSE)
	f(&c)
	return c
}

// Whatever the logits, a kernel that computes in float32 is right, and an output that it could not have is wrong.
func TestLargeLogits(t *testing.T) {
	const n, dim = 33, 64
	for format, sizes := range sizes {
		for i, size := range sizes {
			for _, sign := range []float32{1, -1} {
				t.Run(fmt.Sprint(format, size, sign), func(t *testing.T) {
					c := device{format: format}.solve(t, n, dim, size, 1, sign, uint64(i))
					r := compare(t, c)
					require.True(t, r.OK(), "%s", r)
					require.Zero(t, r.Unknown)
					for name, spoil := range map[string]func(c *Case){
						"beyond all values":          func(c *Case) { change(t, c, func(o []float32) { o[30*dim+3] = 5 }) },
						"no output":                  func(c *Case) { change(t, c, func(o []float32) { clear(o[30*dim:][:dim]) }) },
						"not a number":               func(c *Case) { change(t, c, func(o []float32) { o[30*dim+3] = float32(math.NaN()) }) },
						"infinite":                   func(c *Case) { change(t, c, func(o []float32) { o[30*dim+3] = float32(math.Inf(1)) }) },
						"a row of one key off by 3%": func(c *Case) { change(t, c, func(o []float32) { scaleAll(o[:dim], 1.03) }) },
						"lse off by 1e-4 of itself":  func(c *Case) { c.LSE[30] += 1e-3 + 1e-4*float32(math.Abs(float64(c.LSE[30]))) },
						"infinite lse":               func(c *Case) { c.LSE[30] = float32(math.Inf(1)) },
						"lse not a number":           func(c *Case) { c.LSE[30] = float32(math.NaN()) },
					} {
						require.False(t, compare(t, spoiled(c, spoil)).OK(), name)
					}
				})
			}
		}
	}
}

func scaleAll(x []float32, by float32) {
	for i := range x {
		x[i] *= by
	}
}

// Where large logits differ by more than float32 leaves open, the larger one has all the weight, and the others' values are wrong.
func TestLargeLogitsThatDiffer(t *testing.T) {
	const n, dim = 33, 64
	for format, sizes := range sizes {
		for _, size := range sizes[3:] {
			c := device{format: format}.solve(t, n, dim, size, 1, 1, 3)
			for key := range n { // two of three keys have the other sign
				for i := range dim * min(1, key%3) {
					c.In.K[2*(key*dim+i)+1] ^= 0x80
				}
			}
			c = device{format: format}.again(t, c)
			require.True(t, compare(t, c).OK(), "%s %g", format, size)
			c = spoiled(c, func(c *Case) { copy(c.O[2*30*dim:][:2*dim], c.In.V[2*29*dim:]) })
			r := compare(t, c)
			require.False(t, r.OK(), "%s %g: the value of key 29: %s", format, size, r)
			require.Equal(t, [3]int{0, 0, 30}, r.WorstRow)
		}
	}
}

// alike makes keys whose logits float32 cannot tell: the same numbers in another order, and one that is small and differs.
func (c Case) alike(t *testing.T) Case {
	n, dim := c.In.SeqK, c.In.HeadDim
	x := make([]float32, n*dim)
	require.NoError(t, half.Decode(c.In.Format, x, c.In.K))
	rng, first := rand.New(rand.NewPCG(3, 3)), slices.Clone(x[:dim])
	for key := range n {
		row := x[key*dim:][:dim]
		copy(row, first)
		row[dim-1] = row[0] * float32(key*key%n+1) / float32(n<<19)
		rng.Shuffle(dim, func(i, j int) { row[i], row[j] = row[j], row[i] })
	}
	var err error
	c.In.K, err = half.Encode(c.In.Format, x)
	require.NoError(t, err)
	for i := 2; i < len(c.In.Q); i++ { // all queries have one number everywhere
		c.In.Q[i] = c.In.Q[i-2]
	}
	return c
}

// Where float32 cannot tell which logit is larger, the mean of any of them is right, and nothing else.
func TestLogitsThatFloat32CannotTell(t *testing.T) {
	const n, dim = 40, 64
	for format, sizes := range sizes {
		for _, size := range sizes[5:] {
			c := device{format: format}.solve(t, n, dim, size, 1, 1, 3).alike(t)
			c = device{format: format}.again(t, c)
			r := compare(t, c)
			require.True(t, r.OK(), "%s %g: %s", format, size, r)
			require.Greater(t, r.Doubtful, n/2)
			require.False(t, compare(t, spoiled(c, func(c *Case) { change(t, c, func(o []float32) { scaleAll(o[30*dim:][:dim], 9) }) })).OK())
			require.False(t, compare(t, spoiled(c, func(c *Case) { change(t, c, func(o []float32) { scaleAll(o[:dim], 1.03) }) })).OK())
		}
	}
}

// Rows whose products float32 cannot hold are not judged, and the report says so. Others are.
func TestProductsBeyondFloat32(t *testing.T) {
	c := device{format: abi.BF16}.solve(t, 8, 16, 1e36, 1, 1, 1)
	for i := range 16 {
		copy(c.In.K[2*(5*16+i):], []byte{0x7f, 0x7f}) // 3e38
	}
	change(t, &c, func(o []float32) {
		for i := range o[5*16:] {
			o[5*16+i] = float32(math.NaN())
		}
	})
	r := compare(t, c)
	require.True(t, r.OK(), "%s", r)
	require.Equal(t, 3, r.Unknown)
	require.Contains(t, r.String(), "3 rows not compared: their products q.k are beyond float32")
	change(t, &c, func(o []float32) { o[4*16] = 9 })
	require.False(t, compare(t, c).OK())
}

// Logits of ordinary size leave nothing open that hides a rounding to fewer bits: P of f16 with 7 bits is wrong, with its 10 right.
func TestLimitsFollowFromTheType(t *testing.T) {
	for _, size := range []float64{1, 4, 30} {
		for _, dim := range []int{64, 128} {
			require.True(t, compare(t, device{format: abi.F16}.solve(t, 100, dim, size, 1, 1, 2)).OK())
			require.True(t, compare(t, device{format: abi.BF16}.solve(t, 100, dim, size, 1, 1, 2)).OK())
			r := compare(t, device{abi.F16, 7}.solve(t, 100, dim, size, 1, 1, 2))
			require.False(t, r.OK(), "7 bits in f16, logits of %g: %s", size, r)
			r = compare(t, device{abi.BF16, 4}.solve(t, 100, dim, size, 1, 1, 2))
			require.False(t, r.OK(), "4 bits in bf16, logits of %g: %s", size, r)
		}
	}
}

// Numbers that are small for a type have fewer bits: what they lose is no mistake, more is.
func TestSmallValues(t *testing.T) {
	for _, value := range []float64{1e-2, 1e-4, 1e-5, 1e-6} {
		c := device{format: abi.F16}.solve(t, 40, 64, 5, value, 1, 2)
		r := compare(t, c)
		require.True(t, r.OK(), "values of %g: %s", value, r)
		r = compare(t, spoiled(c, func(c *Case) {
			change(t, c, func(o []float32) { o[30*64] += float32(value) / 2 })
		}))
		require.False(t, r.OK(), "values of %g: %s", value, r)
	}
}
