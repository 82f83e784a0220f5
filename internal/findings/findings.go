// Package findings is what checks of pattern files found, as JSON.
package findings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/minfc/minfc/dsl"
)

// File is what was found in one file.
type File struct {
	Name        string       `json:"file"`
	OK          bool         `json:"ok"`              // compile takes it
	Patterns    []string     `json:"patterns"`        // of a file that is ok
	Diagnostics []Diagnostic `json:"diagnostics"`     // errors and warnings in the text
	Error       string       `json:"error,omitempty"` // why there are no diagnostics: the file cannot be read, say
}

// Diagnostic is one error or warning. Lines and columns count from 1, columns in characters.
type Diagnostic struct {
	Code    string   `json:"code"`
	Warning bool     `json:"warning"`
	Line    int      `json:"line"`
	Column  int      `json:"column"`
	Message string   `json:"message"`
	Notes   []string `json:"notes,omitempty"`
	Help    string   `json:"help,omitempty"`
}

// Of says what was found in a file: err is why it was refused, nil if it was not, and warnings are the warnings about its text src.
func Of(name string, src []byte, patterns []string, warnings dsl.Diagnostics, err error) File {
	f := File{Name: name, OK: err == nil, Patterns: []string{}, Diagnostics: []Diagnostic{}}
	var source *dsl.Error
	switch {
	case err == nil:
		f.Patterns = append(f.Patterns, patterns...)
		f.add(src, warnings)
	case errors.As(err, &source):
		f.add(source.Src, source.Diagnostics)
	default:
		f.Error = err.Error()
	}
	return f
}

func (f *File) add(src []byte, list dsl.Diagnostics) {
	for _, d := range list {
		line, column := place(src, d.Primary.Span.Start)
		f.Diagnostics = append(f.Diagnostics, Diagnostic{d.Code, d.IsWarning(), line, column, d.Message, d.Notes, d.Help})
	}
}

// place is the line and column of a byte.
func place(src []byte, at int) (line, column int) {
	before := src[:min(max(at, 0), len(src))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte{'\n'}), 1 + utf8.RuneCount(before[start:])
}

// JSON is the list as JSON.
func JSON(list []File) ([]byte, error) {
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("internal: findings: %w", err)
	}
	return append(text, '\n'), nil
}
