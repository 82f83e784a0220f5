package ir_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

func op(op ir.ExprOp, x, y ir.Number) ir.Operation { return ir.Operation{Op: op, X: x, Y: y} }

var keys = ir.KeyCount{}

// What an operation gives counts things, and so do its parts; programs compute the same.
func TestNumbersOfTheLength(t *testing.T) {
	n := ir.Var("n")
	for _, x := range []struct {
		number ir.Number
		want   int64 // for n = 5 and 100 keys
	}{
		{keys, 100},
		{op(ir.OpFloorDiv, keys, ir.Int(16)), 6},
		{op(ir.OpMin, ir.Int(8), op(ir.OpFloorDiv, keys, ir.Int(16))), 6},
		{op(ir.OpMax, n, op(ir.OpFloorDiv, keys, ir.Int(50))), 5},
		{op(ir.OpSub, op(ir.OpFloorDiv, keys, ir.Int(16)), n), 1},
		{op(ir.OpAdd, op(ir.OpSub, n, ir.Int(7)), ir.Int(3)), 3}, // a difference below 0 is none
		{op(ir.OpMin, n.Sub(ir.Int(9)), keys), 0},
		{op(ir.OpMul, op(ir.OpMul, keys, ir.Int(ir.MaxParam)), ir.Int(ir.MaxParam)), ir.MaxParam},
		{op(ir.OpMin, n.Mul(ir.Int(ir.MaxParam)).Mul(n).Mul(n).Mul(n), keys), 100}, // what does not fit is larger than any length
	} {
		values := map[string]int64{"n": 5}
		got, err := x.number.At(values, 100)
		require.NoError(t, err)
		require.Equal(t, x.want, got, "%s", x.number)
		expr, err := ir.NumberExpr(x.number, ir.Name("columns")).Eval(ir.Env{"p_n": 5, "columns": 100})
		require.NoError(t, err)
		require.Equal(t, x.want, expr, "%s in a program", x.number)
	}
}

// Numbers that fall as the length grows, that divide by nothing known, or that are no numbers of members are refused.
func TestNumbersThatAreRefused(t *testing.T) {
	for says, s := range map[string]ir.Select{
		"falls as the length grows":                 {N: op(ir.OpSub, ir.Int(9), op(ir.OpFloorDiv, keys, ir.Int(2)))},
		"divides by 0, want a constant":             {N: op(ir.OpFloorDiv, keys, ir.Int(0))},
		"divides by n, want a constant":             {N: op(ir.OpFloorDiv, keys, ir.Var("n"))},
		"divides by keys(), want":                   {N: op(ir.OpFloorDiv, ir.Int(4), keys)},
		"unknown operation":                         {N: op(ir.OpBitLen, keys, keys)},
		"has a part that is missing":                {N: op(ir.OpMin, keys, nil)},
		"has no number":                             {},
		"want one that depends on parameters alone": {Rule: ir.NearMax, N: op(ir.OpMin, keys, ir.Int(3))},
		"no declared parameter":                     {N: op(ir.OpMin, keys, ir.Var("m"))},
		"a least number beside it":                  {N: ir.Int(3), Least: keys},
	} {
		s.Of = "x"
		defs := []ir.IndexDef{{Name: "l", Value: ir.Probe{Last: poly(64)}}, {Name: "p", Value: ir.Softmax{Of: "l"}}, {Name: "x", Value: ir.Sum{Of: "p"}},
			{Name: "c", Value: s}}
		require.ErrorContains(t, ir.VerifyIndex(defs, indexParams, nil), says)
	}
}

// A longer call has no smaller number, whatever it is made of.
func FuzzNumbersRise(f *testing.F) {
	f.Add("min(4096, floordiv(keys(), 16))", uint16(100), uint16(7))
	f.Add("max(n - 3, plus(times(keys(), 3), minus(keys(), n)))", uint16(0), uint16(1))
	f.Fuzz(func(t *testing.T, text string, length, more uint16) {
		d, err := ir.ParseIndexDef("index c = top " + text + " from x")
		if err != nil {
			return
		}
		defs := []ir.IndexDef{{Name: "l", Value: ir.Probe{Last: poly(64)}}, {Name: "p", Value: ir.Softmax{Of: "l"}}, {Name: "x", Value: ir.Sum{Of: "p"}}, d}
		if ir.VerifyIndex(defs, indexParams, nil) != nil {
			return
		}
		s, chooses := d.Value.(ir.Select)
		require.True(t, chooses)
		at := func(keys int) int64 {
			v, err := s.N.At(map[string]int64{"n": 4, "vertical": 4}, keys)
			if err != nil {
				return math.MaxInt64
			}
			return v
		}
		require.LessOrEqual(t, at(int(length)), at(int(length)+int(more)), "%s", s.N)
		again, err := ir.ParseIndexDef(d.String())
		require.NoError(t, err)
		require.Equal(t, d.String(), again.String())
	})
}
