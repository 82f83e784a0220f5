// Package input reads what a FILE argument names: the source of patterns, or a compiled artifact.
package input

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/filekind"
	"github.com/minfc/minfc/internal/suggest"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/runtime/artifact"
)

// File is what a FILE argument names: the source of patterns, or a compiled artifact.
type File struct {
	Name     string             // for messages
	Path     string             // "" for the library
	Source   []byte             // nil for an artifact
	Artifact *artifact.Artifact // nil for a source
}

// maxInput bounds what is read from a file, in bytes; sources and artifacts are far smaller.
const maxInput = 64 << 20

// Read reads what name says. A name with a dot or a path separator is a file; any other is looked up in the
// pattern library first, then as a file. An artifact is told from a source by its first bytes.
func Read(name string) (*File, error) {
	if !strings.ContainsAny(name, "./"+string(os.PathSeparator)) {
		if file, src, ok := patterns.Source(name); ok {
			return &File{Name: file, Source: src}, nil
		}
		if name == "-" {
			return nil, fmt.Errorf("- is no pattern: to read one from standard input, name /dev/stdin")
		}
		if _, err := os.Stat(name); err != nil {
			return nil, fmt.Errorf("no file and no library pattern %q, the library has %s%s",
				name, strings.Join(patterns.Names(), ", "), suggest.Hint(name, patterns.Names()))
		}
	}
	data, err := readFile(name)
	if err != nil {
		return nil, err
	}
	if err := filekind.Refuse(data, "a pattern file or an artifact", filekind.Pattern, filekind.Artifact, filekind.Empty); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	in := &File{Name: name, Path: name, Source: data}
	if artifact.Is(data) {
		in.Source = nil
		if in.Artifact, err = artifact.Read(data); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return in, nil
}

// ReadOptional is Read, with nil for no name.
func ReadOptional(name string) (*File, error) {
	if name == "" {
		return nil, nil
	}
	return Read(name)
}

// ReadSource reads what must be the source of patterns.
func ReadSource(name string) (*File, error) {
	in, err := Read(name)
	if err == nil && in.Artifact != nil {
		return nil, fmt.Errorf("%s: a compiled artifact, want the source of a pattern", name)
	}
	return in, err
}

// Patterns lists the patterns of the file; no file has none.
func (f *File) Patterns() ([]*ir.Pattern, error) {
	switch {
	case f == nil:
		return nil, nil
	case f.Artifact == nil:
		_, patterns, err := dsl.Load(f.Name, f.Source)
		return patterns, err
	}
	var out []*ir.Pattern
	for _, x := range f.Artifact.Manifest.Patterns {
		p, err := ir.ParsePattern(x.Text)
		if err == nil {
			err = p.Verify()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w: pattern: %w", f.Name, artifact.ErrManifest, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// DefaultOutput is the name of a pattern's artifact where none is given. It does not replace a file that is no artifact.
func DefaultOutput(pattern string) (string, error) {
	path := pattern + ".minf"
	if old, err := os.ReadFile(path); err == nil && !artifact.Is(old) {
		return "", fmt.Errorf("%s is there and is not an artifact, name the output with -o", path)
	}
	return path, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return nil, fmt.Errorf("%s: is a directory, wanted a pattern file or an artifact", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxInput+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxInput {
		return nil, fmt.Errorf("%s: larger than %d MB, wanted a pattern file or an artifact", path, maxInput>>20)
	}
	return data, nil
}
