package ir

// Closest returns the candidate that name was most likely meant to be, "" if none is near. Of equally near ones the first wins.
func Closest(name string, candidates []string) string {
	if len(name) > 64 {
		return "" // no name of ours is near, and the distance takes quadratic time
	}
	best, found := max(1, (len(name)+1)/3)+1, ""
	for _, c := range candidates {
		if d := editDistance(name, c); d < best && d < len(c) {
			best, found = d, c
		}
	}
	return found
}

// editDistance counts the insertions, deletions, changes and swaps of neighbours that make a into b.
func editDistance(a, b string) int {
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			change := row[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			next[j] = min(row[j]+1, next[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
