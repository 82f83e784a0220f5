package pairs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// mask is what keep says of n rows and keys.
func mask(n, offset int, keep func(q, k int) bool) Mask {
	m := Mask{Rows: Spread(n, n), Keys: n, QOffset: offset}
	for i := range n {
		for k := range n {
			b := byte(0)
			if keep(i+offset, k) {
				b = 1
			}
			m.Kept = append(m.Kept, b)
		}
	}
	return m
}

func causal(q, k int) bool { return k <= q }

func TestDensity(t *testing.T) {
	require.Equal(t, 1.0, mask(64, 0, causal).Density(true), "all causal pairs")
	require.Equal(t, 65.0/128, mask(64, 0, causal).Density(false))
	require.Equal(t, 64/(64*65/2.0), mask(64, 0, func(q, k int) bool { return q == k }).Density(true))
	require.Equal(t, 1.0, mask(8, 100, func(q, k int) bool { return true }).Density(true), "all keys lie before the queries")

	two := mask(8, 0, causal)
	two.Kept = append(two.Kept, make([]byte, 64)...)
	require.Equal(t, 0.5, two.Density(true), "mean of the heads")

	none := Mask{Rows: []int{0, 1}}
	require.Zero(t, none.Density(true), "no keys")
}

func TestSpread(t *testing.T) {
	require.Equal(t, []int{0, 1, 2}, Spread(3, 7))
	require.Equal(t, []int{1, 3, 5, 7}, Spread(8, 4))
	require.Empty(t, Spread(0, 4))
}

func TestDraw(t *testing.T) {
	p := mask(64, 0, func(q, k int) bool { return k <= q && (k < 8 || q-k < 8) }).Draw(64, 4, 2)
	require.Equal(t, []string{"⡷⣄⠀⠀", "⡇⠈⠳⣄"}, p.Lines)
	require.Equal(t, 8.0, p.DotRows)
	require.Equal(t, 8.0, p.DotKeys)

	small := mask(3, 0, causal).Draw(3, 4, 2)
	require.Equal(t, []string{"⠷⠄⠀⠀"}, small.Lines, "no dot stands for less than a pair")
	require.Empty(t, Mask{Keys: 5}.Draw(0, 4, 2).Lines)
	require.Equal(t, []string{"⠀⠀"}, Mask{Rows: []int{0}}.Draw(1, 2, 1).Lines)
}
