// Package suggest words the offer of the name a user probably meant.
package suggest

import "github.com/minfc/minfc/ir"

// Hint is ", did you mean NAME?" for the name closest to word, "" when none is near.
func Hint(word string, names []string) string {
	if n := ir.Closest(word, names); n != "" {
		return ", did you mean " + n + "?"
	}
	return ""
}
