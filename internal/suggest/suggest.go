// Package suggest finds the name a user probably meant.
package suggest

// Nearest returns the name closest to word by edit distance, "" when none is near enough to be a likely slip.
// Of equally near names the first wins.
func Nearest(word string, names []string) string {
	best, limit := "", len([]rune(word))/3+1
	for _, n := range names {
		if d := distance([]rune(word), []rune(n)); d <= limit {
			best, limit = n, d-1
		}
	}
	return best
}

// Hint is ", did you mean X?" for the nearest name, "" when there is none.
func Hint(word string, names []string) string {
	if n := Nearest(word, names); n != "" {
		return ", did you mean " + n + "?"
	}
	return ""
}

// distance counts the insertions, deletions and replacements from a to b; row holds those to b's prefixes.
func distance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range b {
			replace := diagonal
			if x != y {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
