// Package findings is what checks of pattern files found, as JSON.
package findings

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/internal/suggest"
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

// Check checks a file of patterns, with these values for the const parameters that they have. Warnings are rendered for a person; the error
// is why the file was refused.
func Check(name string, consts map[string]int64) (found File, warnings string, err error) {
	in, err := input.ReadSource(name)
	if err != nil {
		return Of(name, nil, nil, nil, err), "", err
	}
	f, patterns, err := compile.Check(in.Name, in.Source, consts)
	if err != nil {
		return Of(in.Name, in.Source, nil, nil, err), "", err
	}
	var names []string
	for _, p := range patterns {
		names = append(names, p.Name)
	}
	if len(f.Warnings) > 0 {
		warnings = strings.TrimRight(dsl.Render(in.Name, in.Source, f.Warnings), "\n")
	}
	return Of(in.Name, in.Source, names, f.Warnings, nil), warnings, nil
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
		line, column := dsl.Position(src, d.Primary.Span.Start)
		f.Diagnostics = append(f.Diagnostics, Diagnostic{d.Code, d.IsWarning(), line, column, d.Message, d.Notes, d.Help})
	}
}

// Explain says what the code of a diagnostic means, in any case of its letters.
func Explain(code string) (string, error) {
	text, ok := dsl.Explain(strings.ToUpper(code))
	if ok {
		return strings.TrimRight(text, "\n"), nil
	}
	var codes []string
	for _, k := range dsl.Codes {
		codes = append(codes, k.Code)
	}
	return "", fmt.Errorf("no diagnostic has the code %s%s", code, suggest.Hint(strings.ToUpper(code), codes))
}

// JSON is the list as JSON.
func JSON(list []File) ([]byte, error) {
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("internal: findings: %w", err)
	}
	return append(text, '\n'), nil
}
