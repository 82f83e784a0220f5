package lower_test

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

var scaleParam = []lower.Param{{Name: "scale_log2", Type: "f32"}}

// rowTile is a row tile that knows its lane and the scale.
func rowTile(b *lower.Builder, s *lower.Scores) *lower.RowTile {
	k := &lower.RowTile{Builder: b, Schedule: &ir.Schedule{}, Scores: s, DType: abi.BF16, SlotKeys: 64, Lane: b.And(b.ThreadX(), lower.I32(31))}
	k.Query = func(strip, r int) lower.Value { return lower.I32(int64(100 + 16*strip + 8*r)) }
	return k
}

// ofLanes runs body in the 32 lanes of a warp, with a scale of 2 in the log2 domain: x is a float for each.
func ofLanes(t *testing.T, xs []float32, body func(b *lower.Builder, x lower.Value) lower.Value) (out []float64) {
	var in []byte
	for i := range 32 {
		in = binary.LittleEndian.AppendUint32(in, math.Float32bits(xs[i%len(xs)]))
	}
	args := [][]byte{binary.LittleEndian.AppendUint32(nil, math.Float32bits(2))}
	got := launchWith(t, 32, in, scaleParam, args, func(b *lower.Builder, x lower.Value) lower.Value { return b.AsInt(body(b, b.AsFloat(x))) })
	for i := range 32 {
		out = append(out, float64(math.Float32frombits(binary.LittleEndian.Uint32(got[4*i:]))))
	}
	return out
}

// TestScoresCostNothing: without modifiers nothing is emitted between product and mask, and rows begin with constants.
func TestScoresCostNothing(t *testing.T) {
	for _, s := range []*lower.Scores{nil, {}} {
		b := lower.NewKernel("k", scaleParam, 32, 1)
		k := rowTile(b, s)
		before, scores := len(b.Block.Insts), []lower.Value{lower.F32(1), lower.F32(2)}
		require.Equal(t, scores, k.Modified(scores, lower.Slot{}, 0))
		m, l := k.InitialRow(0, false)
		require.Equal(t, []lower.Value{lower.F32(lower.Lowest), lower.F32(0)}, []lower.Value{m, l})
		m, l = k.InitialRow(0, true)
		require.Equal(t, []lower.Value{lower.NegInf(), lower.F32(0)}, []lower.Value{m, l})
		require.Len(t, b.Block.Insts, before)
	}
}

// TestModifiersGetLogitsAndPositions: each score comes as a logit with the query and the key that it is of, and modifiers apply in their order.
func TestModifiersGetLogitsAndPositions(t *testing.T) {
	const product, start = 3, 640
	logit := product * 2 * math.Ln2
	modified := func(number int) []float64 {
		add := func(k *lower.RowTile, s lower.Score) lower.Value {
			position := k.Add(k.Mul(s.Query(), lower.I32(10000)), s.Key())
			return k.FAdd(s.Logit, k.Block.NewSIToFP(position, lower.F32(0).Type()))
		}
		double := func(k *lower.RowTile, s lower.Score) lower.Value { return k.FMul(s.Logit, lower.F32(2)) }
		return ofLanes(t, []float32{product}, func(b *lower.Builder, x lower.Value) lower.Value {
			k := rowTile(b, &lower.Scores{Modifiers: []lower.Modifier{add, double}})
			return k.Modified(slices.Repeat([]lower.Value{x}, 32), lower.Slot{Start: lower.I32(start)}, 1)[number]
		})
	}
	for number, at := range map[int]struct{ row, column int }{0: {0, 0}, 1: {0, 1}, 2: {8, 0}, 7: {8, 9}, 29: {0, 57}} {
		for lane, got := range modified(number) {
			key := start + at.column + 2*(lane%4)
			require.InDelta(t, 2*(logit+float64(10000*(116+at.row)+key)), got, 0.5, "score %d, lane %d", number, lane)
		}
	}
}

// TestInitialRow: the four lanes of a row begin with the same maximum and, together, with the sum.
func TestInitialRow(t *testing.T) {
	s := &lower.Scores{Initial: func(k *lower.RowTile, i int) (m, l lower.Value) { return lower.F32(float64(3 + i)), lower.F32(0.5) }}
	for _, c := range []struct {
		exact  bool
		m, sum float64
	}{{false, 5 * math.Log2E, 0.5}, {true, 5, 0.5 * math.Exp2(-lower.Headroom(abi.BF16))}} {
		maxima := ofLanes(t, []float32{0}, func(b *lower.Builder, _ lower.Value) lower.Value {
			m, _ := rowTile(b, s).InitialRow(2, c.exact)
			return m
		})
		sums := ofLanes(t, []float32{0}, func(b *lower.Builder, _ lower.Value) lower.Value {
			k := rowTile(b, s)
			_, l := k.InitialRow(2, c.exact)
			all := []lower.Value{l}
			k.SumQuads(all)
			return all[0]
		})
		for lane := range 32 {
			require.InEpsilon(t, c.m, maxima[lane], 1e-6, "lane %d", lane)
			require.InEpsilon(t, c.sum, sums[lane], 1e-6, "lane %d", lane)
		}
	}
}

// TestScaleOfExponents: products meet the scale of the call in exponents, and logits the log2 of e.
func TestScaleOfExponents(t *testing.T) {
	for name, c := range map[string]struct {
		scores *lower.Scores
		scale  float64
	}{
		"products": {nil, 2},
		"logits":   {&lower.Scores{Modifiers: []lower.Modifier{func(_ *lower.RowTile, s lower.Score) lower.Value { return s.Logit }}}, math.Log2E},
	} {
		xs := []float32{1.5, -3, 0.25, 2} // of the four lanes of a row: the largest is 2
		of := func(body func(k *lower.RowTile, x lower.Value) lower.Value) []float64 {
			return ofLanes(t, xs, func(b *lower.Builder, x lower.Value) lower.Value { return body(rowTile(b, c.scores), x) })
		}
		scaled := of(func(k *lower.RowTile, x lower.Value) lower.Value { return k.Scaled(x) })
		maximum := of(func(k *lower.RowTile, x lower.Value) lower.Value {
			m, _ := k.NewMaximum(lower.F32(1), x)
			return m
		})
		alpha := of(func(k *lower.RowTile, x lower.Value) lower.Value {
			_, alpha := k.NewMaximum(lower.F32(1), x)
			return alpha
		})
		fast := of(func(k *lower.RowTile, x lower.Value) lower.Value { return k.Probability(x, lower.F32(-1)) })
		exact := of(func(k *lower.RowTile, x lower.Value) lower.Value { return k.ExactProbability(x, lower.F32(2)) })
		for lane := range 32 {
			x := float64(xs[lane%4])
			require.InEpsilon(t, x*c.scale, scaled[lane], 1e-6, name)
			require.InEpsilon(t, 2*c.scale, maximum[lane], 1e-6, name)
			require.InEpsilon(t, math.Exp2(1-2*c.scale), alpha[lane], 1e-5, name)
			require.InEpsilon(t, math.Exp2(x*c.scale-1), fast[lane], 1e-5, name)
			require.InEpsilon(t, math.Exp2((x-2)*c.scale-lower.Headroom(abi.BF16)), exact[lane], 1e-5, name)
		}
	}
}
