package lower

// OfRow are the accumulators of row r of a strip's two: two of every four.
func OfRow(s []Value, r int) (out []Value) {
	for i := 2 * r; i < len(s); i += 4 {
		out = append(out, s[i], s[i+1])
	}
	return out
}

// JoinRows puts the accumulators of a strip's two rows into the order of both.
func JoinRows(upper, below []Value) (out []Value) {
	for i := 0; i < len(upper); i += 2 {
		out = append(out, upper[i], upper[i+1], below[i], below[i+1])
	}
	return out
}
