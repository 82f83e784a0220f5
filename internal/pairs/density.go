// Package pairs counts and draws the query-key pairs that attention heads keep.
package pairs

// Spread lists up to count of the rows 0..n-1, each in the middle of its part, so that straight bands are counted exactly on
// average.
func Spread(n, count int) []int {
	count = min(n, max(count, 1))
	rows := make([]int, count)
	for i := range rows {
		rows[i] = int((2*int64(i) + 1) * int64(n) / (2 * int64(count)))
	}
	return rows
}

// Mask says which pairs some rows of a call keep.
type Mask struct {
	Rows    []int  // query rows, ascending
	Keys    int    // columns of a row
	QOffset int    // position of query row 0
	Kept    []byte // [heads, len(Rows), Keys], 1 for a kept pair
}

// Density is the share of the pairs of dense attention that the rows keep, mean of the heads: of the pairs with k <= q for a
// causal pattern, else of all. It is 0 where dense attention has no pairs.
func (m Mask) Density(causal bool) float64 {
	dense, kept := 0, 0
	for _, r := range m.Rows {
		dense += m.denseKeys(r, causal)
	}
	for _, b := range m.Kept {
		kept += int(b)
	}
	if dense == 0 {
		return 0
	}
	heads := len(m.Kept) / (len(m.Rows) * m.Keys)
	return float64(kept) / float64(dense) / float64(heads)
}

// denseKeys is how many keys dense attention has for a row.
func (m Mask) denseKeys(row int, causal bool) int {
	if !causal {
		return m.Keys
	}
	return max(0, min(m.Keys, m.QOffset+row+1))
}
