// Package ptxparams reads from PTX text how many bytes each parameter of a kernel has: a driver reads that many from every
// argument, whatever it was given, and not every one can be asked.
package ptxparams

import (
	"bytes"
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
	for at := 0; ; {
		next := bytes.Index(ptx[at:], []byte(".entry"))
		if next < 0 {
			return out
		}
		start := at + next
		at = start + len(".entry")
		if commented(ptx[:start]) {
			continue
		}
		m := entry.FindStringSubmatch(comment.ReplaceAllString(head(ptx[start:]), " "))
		if m == nil {
			continue
		}
		if sizes, ok := sizesOf(m[3]); ok {
			out[m[1]] = sizes
		}
	}
}

// commented says whether what follows the text is part of a comment.
func commented(text []byte) bool {
	line := text[bytes.LastIndexByte(text, '\n')+1:]
	return bytes.Contains(line, []byte("//")) || bytes.LastIndex(text, []byte("/*")) > bytes.LastIndex(text, []byte("*/"))
}

// head is the text up to the body of a kernel: a module's bodies are nearly all of it.
func head(text []byte) string {
	if end := bytes.IndexByte(text, '{'); end >= 0 {
		text = text[:end]
	}
	return string(text)
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
