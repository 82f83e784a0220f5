// Package ptxparams reads from PTX text how many bytes each parameter of a kernel has: a driver reads that many from every
// argument, whatever it was given, and not every one can be asked.
package ptxparams

import (
	"regexp"
	"strconv"
	"strings"
)

var (
	comment = regexp.MustCompile(`(?s)//[^\n]*|/\*.*?\*/`)
	entry   = regexp.MustCompile(`\.entry\s+([\w$%]+)\s*(\(([^)]*)\))?`)
	// A type, attributes of pointers, the name, and how many elements an array has.
	param = regexp.MustCompile(`^\.param\s+(?:\.align\s+\d+\s+)?\.[busf](8|16|32|64)(?:\s+\.(?:ptr|global|shared|const|local|align\s+\d+))*\s+[\w$%]+\s*(?:\[\s*(\d+)\s*\])?$`)
)

// Sizes returns the bytes of each parameter of every kernel of a module, by the kernel's name. Kernels whose parameters it
// cannot read are left out.
func Sizes(ptx []byte) map[string][]int {
	out := map[string][]int{}
	for _, m := range entry.FindAllStringSubmatch(comment.ReplaceAllString(string(ptx), " "), -1) {
		if sizes, ok := sizesOf(m[3]); ok {
			out[m[1]] = sizes
		}
	}
	return out
}

func sizesOf(list string) ([]int, bool) {
	sizes := []int{}
	if strings.TrimSpace(list) == "" {
		return sizes, true
	}
	for p := range strings.SplitSeq(list, ",") {
		m := param.FindStringSubmatch(strings.TrimSpace(p))
		if m == nil {
			return nil, false
		}
		bits, _ := strconv.Atoi(m[1])
		n := 1
		if m[2] != "" {
			var err error
			if n, err = strconv.Atoi(m[2]); err != nil {
				return nil, false
			}
		}
		sizes = append(sizes, bits/8*n)
	}
	return sizes, true
}
