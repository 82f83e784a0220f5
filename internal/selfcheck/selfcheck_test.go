package selfcheck

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
)

const scale = 0.25

// causal keeps nothing in the rows whose position is 3, to have empty rows.
func causal(q, k int) bool { return k <= q && q != 3 }

// solved is a call whose results were computed here, row by row, without the code under test.
func solved(t *testing.T) Case {
	t.Helper()
	in, err := qkv.Generate(qkv.Shape{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 9, SeqK: 12, HeadDim: 16}, abi.BF16, 5)
	require.NoError(t, err)
	decode := func(b []byte) []float32 {
		out := make([]float32, len(b)/2)
		require.NoError(t, half.Decode(abi.BF16, out, b))
		return out
	}
	q, k, v := decode(in.Q), decode(in.K), decode(in.V)
	var o []float32
	var lse []float32
	for h := range 8 {
		for i := range 9 {
			kv := h / 2 * 12 * 16
			row, l := ir.Attend(q[(h*9+i)*16:][:16], k[kv:][:12*16], v[kv:][:12*16], func(k int) bool { return causal(i, k) }, scale)
			for _, x := range row {
				o = append(o, float32(x))
			}
			lse = append(lse, float32(l))
		}
	}
	c := Case{In: in, Keep: causal, Scale: scale, LSE: lse}
	c.O, err = half.Encode(abi.BF16, o)
	require.NoError(t, err)
	return c
}

func compare(t *testing.T, c Case) *Report {
	t.Helper()
	r, err := Compare(c)
	require.NoError(t, err)
	return r
}

func TestRightResultsPass(t *testing.T) {
	r := compare(t, solved(t))
	require.True(t, r.OK(), "%s", r)
	require.Equal(t, 9, r.Rows)
	require.Greater(t, r.Frobenius, 0., "rounding to bf16 must show")
}

// at is the index of an element of o.
func at(head, row, i int) int { return (head*9+row)*16 + i }

func TestWrongResultsFail(t *testing.T) {
	nan, inf := uint16(0x7fc0), uint16(0x7f80)
	put := func(b []byte, i int, v uint16) { binary.LittleEndian.PutUint16(b[2*i:], v) }
	for name, c := range map[string]struct {
		spoil func(c *Case)
		row   [3]int
	}{
		"one wrong row":           {func(c *Case) { put(c.O, at(7, 8, 0), 0x4080) }, [3]int{1, 3, 8}},
		"nan, then others":        {func(c *Case) { put(c.O, at(2, 5, 1), nan); put(c.O, at(7, 8, 0), 0x4080) }, [3]int{0, 2, 5}},
		"infinite":                {func(c *Case) { put(c.O, at(4, 1, 2), inf) }, [3]int{1, 0, 1}},
		"empty row not zero":      {func(c *Case) { put(c.O, at(1, 3, 0), 0x0080) }, [3]int{0, 1, 3}},
		"other keys of the group": {func(c *Case) { copy(c.O[2*at(2, 6, 0):], c.O[2*at(0, 6, 0):][:32]) }, [3]int{0, 2, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			s := solved(t)
			c.spoil(&s)
			r := compare(t, s)
			require.False(t, r.OK(), "%s", r)
			require.Equal(t, c.row, r.WorstRow)
		})
	}
}

func TestWrongLSEFails(t *testing.T) {
	for _, v := range []float64{0, math.NaN(), math.Inf(1), math.Inf(-1)} {
		s := solved(t)
		s.LSE[5*9+7] = float32(v)
		require.False(t, compare(t, s).OK(), "lse %v", v)
		s.LSE = nil
		require.True(t, compare(t, s).OK(), "an lse that was not wanted must not count")
	}
	// A row without keys has -inf and nothing else.
	s := solved(t)
	s.LSE[3] = -88
	require.False(t, compare(t, s).OK())
}

func TestSample(t *testing.T) {
	require.Len(t, sample(100, 1), 100)
	rows := sample(1<<20, 1e6)
	require.Greater(t, len(rows), 5000)
	require.LessOrEqual(t, len(rows), 8000)
	require.Equal(t, [2]int{0, 1<<20 - 1}, [2]int{rows[0], rows[len(rows)-1]})
	require.Equal(t, rows, sample(1<<20, 1e6))
	require.Len(t, sample(10, 1e18), 4, "some rows always")
	require.Empty(t, sample(0, 1))
}

func TestReportSaysHowMuchWasCompared(t *testing.T) {
	r := Report{Rows: 4, Of: 9, Frobenius: 1.5e-3, Row: 1e-2, LSE: 1e-6, HasLSE: true, Limits: LimitsOf(abi.BF16)}
	require.Equal(t, "4 sampled rows of 9 of every head against float64: relative error 1.50e-03 (limit 3e-03), "+
		"worst row 1.00e-02 (limit 8e-03), lse 1.00e-06 (limit 2e-04)", r.String())
}

// The page says what the code has.
func TestLimitsInTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/measuring.md")
	require.NoError(t, err)
	for _, f := range []abi.DType{abi.BF16, abi.F16} {
		l := LimitsOf(f)
		row := fmt.Sprintf("| %s | %.0e | %.0e | %.0e |", f, l.Frobenius, l.Row, l.LSE)
		require.Contains(t, string(page), strings.ReplaceAll(row, "e-0", "e-"))
	}
	require.Zero(t, LimitsOf("f32"))
}
