// Package patterns is the library of patterns, written in the pattern language and embedded in the binary.
package patterns

import (
	"embed"
	"path"
	"strings"
)

//go:embed *.minf
var files embed.FS

const extension = ".minf"

// Names lists the patterns of the library, sorted. Each file holds one pattern of the file's name.
func Names() []string {
	entries, _ := files.ReadDir(".") // the folder is part of the binary; entries are sorted by name
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), extension))
	}
	return names
}

// Source returns the text of a pattern of the library and a file name for messages about it; ok is false if there is no
// pattern of that name.
func Source(name string) (file string, src []byte, ok bool) {
	src, err := files.ReadFile(name + extension)
	if err != nil {
		return "", nil, false
	}
	return path.Join("patterns", name+extension), src, true
}
