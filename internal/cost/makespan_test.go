package cost

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMakespan has cases that can be drawn by hand. Two blocks share a multiprocessor at half speed each; one alone runs at
// 0.8 of the whole.
func TestMakespan(t *testing.T) {
	two := []float64{0.8, 0.5}
	for _, c := range []struct {
		name   string
		size   int
		speeds []float64
		rows   []int64
		heads  int
		want   float64
	}{
		{"one after the other", 1, []float64{1}, []int64{3, 2, 1}, 1, 6},
		{"longest first is even", 2, []float64{1}, []int64{3, 2, 1}, 1, 3},
		{"longest last is not", 2, []float64{1}, []int64{1, 2, 3}, 1, 4},
		{"heads follow each other", 2, []float64{1}, []int64{3, 1}, 2, 4},
		{"one each before two on one", 2, two, []int64{4, 4}, 1, 5},
		{"alone at the end", 1, two, []int64{4, 1}, 1, 2 + 3/0.8},
		{"shared to the end", 1, two, []int64{2, 2}, 1, 4},
		{"a place is filled at once", 1, two, []int64{4, 1, 3}, 1, 8},
		{"nothing to do", 3, two, []int64{0, 0, 0, 0}, 2, 0},
	} {
		var rows []rowTile
		for _, n := range c.rows {
			rows = append(rows, rowTile{full: n})
		}
		got := crew{c.size, c.speeds}.makespan(rows, c.heads, func(r rowTile) float64 { return float64(r.full) })
		require.InDelta(t, c.want, got, 1e-9, c.name)
	}
}

// TestMakespanOfMany: what is not handed out one by one counts in full.
func TestMakespanOfMany(t *testing.T) {
	rows := make([]rowTile, 1000)
	for i := range rows {
		rows[i].full = int64(1000 - i)
	}
	got := crew{10, []float64{0.7, 0.5}}.makespan(rows, 50, func(r rowTile) float64 { return float64(r.full) })
	require.InEpsilon(t, 50*500.5*1000/10, got, 0.001)
}
