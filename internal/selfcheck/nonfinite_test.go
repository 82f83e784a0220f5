package selfcheck

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
)

// The bits of numbers of bf16 that are not finite.
const (
	nan16  = 0x7fc0
	inf16  = 0x7f80
	ninf16 = 0xff80
)

func put(b []byte, i int, v uint16) { binary.LittleEndian.PutUint16(b[2*i:], v) }

// attended is solved for another input: keys that a row does not keep are not looked at.
func attended(t *testing.T, spoil func(c *Case)) Case {
	c := device{format: abi.BF16}.solve(t, 40, 64, 5, 1, 1, 3)
	spoil(&c)
	return device{format: abi.BF16}.again(t, c)
}

// A value that is not finite is named, and what it reaches is not compared. All else is.
func TestValuesThatAreNotFinite(t *testing.T) {
	for bits, name := range map[uint16]string{nan16: "NaN", inf16: "Inf", ninf16: "-Inf"} {
		c := attended(t, func(c *Case) { put(c.In.V, 37*64+5, bits) })
		change(t, &c, func(o []float32) { o[38*64+5] = float32(math.Inf(1)) }) // whatever a row that keeps it has there
		r := compare(t, c)
		require.True(t, r.OK(), "%s", r)
		require.Contains(t, r.String(), "the input is not finite: v[0, 0, 37, 5] is "+name+"; 3 elements of outputs")
		for what, i := range map[string]int{"an element beside it": 37*64 + 6, "a row that does not keep it": 36*64 + 5} {
			for _, x := range []float32{3, float32(math.NaN()), float32(math.Inf(-1))} {
				require.False(t, compare(t, spoiled(c, func(c *Case) { change(t, c, func(o []float32) { o[i] = x }) })).OK(), "%s is %g", what, x)
			}
		}
		require.False(t, compare(t, spoiled(c, func(c *Case) { c.LSE[38] = float32(math.NaN()) })).OK(), "v has no part in the lse")
	}
}

// A query or a kept key that is not finite makes whole rows undefined, unless its logit is -Inf: the key has no weight then.
func TestLogitsThatAreNotFinite(t *testing.T) {
	nothing := func(c *Case, from, to int) {
		change(t, c, func(o []float32) {
			for i := range o[from*64 : to*64] {
				o[from*64+i] = float32(math.NaN())
			}
		})
		for i := from; i < to; i++ {
			c.LSE[i] = float32(math.NaN())
		}
	}
	for _, x := range []struct {
		name      string
		spoil     func(c *Case)
		undefined int // rows from 20 on
	}{
		{"q[0, 0, 20, 3] is NaN", func(c *Case) { put(c.In.Q, 20*64+3, nan16) }, 1},
		{"q[0, 0, 20, 3] is Inf", func(c *Case) { put(c.In.Q, 20*64+3, inf16) }, 1},
		{"q[0, 0, 20, 3] is -Inf", func(c *Case) { put(c.In.Q, 20*64+3, ninf16) }, 1},
		{"k[0, 0, 20, 3] is NaN", func(c *Case) { put(c.In.K, 20*64+3, nan16) }, 20},
		{"k[0, 0, 20, 3] is Inf", func(c *Case) { put(c.In.K, 20*64+3, inf16) }, 20},
		{"k[0, 0, 20, 3] is -Inf", func(c *Case) { put(c.In.K, 20*64+3, ninf16) }, 0},
		{"k[0, 0, 0, 3] is -Inf", func(c *Case) { put(c.In.K, 3, ninf16) }, 0},
	} {
		c := attended(t, x.spoil)
		r := compare(t, c)
		require.True(t, r.OK(), "%s: %s", x.name, r)
		require.Contains(t, r.String(), x.name)
		require.True(t, compare(t, spoiled(c, func(c *Case) { nothing(c, 20, 20+x.undefined) })).OK(), x.name)
		require.False(t, compare(t, spoiled(c, func(c *Case) { nothing(c, 19, 20) })).OK(), x.name)
		if x.undefined < 20 {
			require.False(t, compare(t, spoiled(c, func(c *Case) { nothing(c, 20+x.undefined, 21+x.undefined) })).OK(), x.name)
		}
	}
}

// Every tensor's first one is named, others are counted.
func TestReportNamesWhatIsNotFinite(t *testing.T) {
	s := solved(t)
	put(s.In.V, (2*12+7)*16+9, inf16) // kv heads of 12 rows: batch 1, head 0
	put(s.In.V, (3*12+7)*16+9, nan16)
	put(s.In.V, (3*12+8)*16+9, nan16)
	put(s.In.Q, (5*9+2)*16+1, nan16)
	r := compare(t, s)
	require.Contains(t, r.String(), "the input is not finite: q[1, 1, 2, 1] is NaN, v[1, 0, 7, 9] is Inf (and 2 more of v are not finite)")
}
