package ir

// Closest returns the known name that name is most likely a misspelling of, "" when none is near. Of equally near ones
// the first wins.
func Closest(name string, known []string) string {
	best, limit := "", 1+len(name)/3
	for _, k := range known {
		if d := editDistance(name, k); d <= limit {
			best, limit = k, d-1
		}
	}
	return best
}

// editDistance counts the letters to insert, delete or replace to turn a into b (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
