// Package library describes the pattern library from the comments and parameters of its files.
package library

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/patterns"
)

// Pattern is a pattern of the library.
type Pattern struct {
	Name    string  `json:"name"`
	Meaning string  `json:"meaning"` // the first sentence of the file
	Keeps   string  `json:"keeps"`   // which pairs are kept
	Dynamic bool    `json:"dynamic"` // the data decides what is kept
	Params  []Param `json:"params"`
}

// Param is a parameter of a pattern.
type Param struct {
	Name    string `json:"name"`
	Default int64  `json:"default"`
	Const   bool   `json:"const"` // known when the kernel is compiled, not when it is launched
	Meaning string `json:"meaning"`
}

// List describes all patterns, sorted by name.
func List() ([]Pattern, error) {
	var out []Pattern
	for _, name := range patterns.Names() {
		file, src, _ := patterns.Source(name)
		_, parsed, err := dsl.Load(file, src)
		if err != nil {
			return nil, fmt.Errorf("internal: %w", err)
		}
		out = append(out, describe(parsed[0], paragraphs(string(src))))
	}
	return out, nil
}

// paragraphs are the paragraphs of the comment that a file begins with. Lines that are set in keep their line breaks.
func paragraphs(src string) (out []string) {
	text := ""
	for line := range strings.Lines(src) {
		comment, is := strings.CutPrefix(line, "//")
		if !is {
			break
		}
		text += comment
	}
	for _, p := range strings.Split(text, "\n\n") {
		if !strings.HasPrefix(p, "   ") {
			p = strings.Join(strings.Fields(p), " ")
		}
		out = append(out, p)
	}
	return out
}

// keeps begins the paragraph that says which pairs a pattern keeps.
const keeps = "A query at position q keeps "

func describe(p *ir.Pattern, texts []string) Pattern {
	out := Pattern{Name: p.Name, Dynamic: len(p.Index) > 0, Params: []Param{}}
	meanings := map[string]string{}
	for i, t := range texts {
		switch {
		case i == 0:
			out.Meaning = firstSentence(t)
		case strings.HasPrefix(t, keeps):
			out.Keeps = firstSentence(t)
		case strings.HasPrefix(t, "   "):
			meanings = params(t)
		}
	}
	for _, q := range p.Params {
		out.Params = append(out.Params, Param{q.Name, q.Default, q.Binding == ir.BindConst, meanings[q.Name]})
	}
	return out
}

// firstSentence ends at a full stop before a space, or is all of the text.
func firstSentence(text string) string {
	if i := strings.Index(text, ". "); i >= 0 {
		return text[:i+1]
	}
	return text
}

// params reads a paragraph of lines "   name  meaning"; lines that are set in further go on with the meaning before.
func params(text string) map[string]string {
	out, name := map[string]string{}, ""
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if !strings.HasPrefix(line, "    ") {
			name, words = words[0], words[1:]
		}
		out[name] = strings.TrimSpace(out[name] + " " + strings.Join(words, " "))
	}
	return out
}

// width is how long the lines of Write become.
const width = 100

// Write prints the patterns for people: what each means, then its parameters with their defaults.
func Write(w io.Writer, list []Pattern) error {
	var b strings.Builder
	for i, p := range list {
		if i > 0 {
			b.WriteString("\n")
		}
		wrap(&b, p.Name, 20, p.Meaning)
		for _, q := range p.Params {
			value := fmt.Sprintf("%s=%d", q.Name, q.Default)
			if q.Const {
				value = "const " + value
			}
			wrap(&b, fmt.Sprintf("  %-16s", value), 20, q.Meaning)
		}
	}
	b.WriteString("\nminfc run NAME tries one; docs/language.md says how to write others.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// wrap writes text behind a name, indented.
func wrap(b *strings.Builder, name string, indent int, text string) {
	line := fmt.Sprintf("%-*s", indent, name)
	for i, word := range strings.Fields(text) {
		if i > 0 && len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = strings.Repeat(" ", indent) + word
			continue
		}
		if i > 0 {
			line += " "
		}
		line += word
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}

// JSON is the list as JSON.
func JSON(list []Pattern) ([]byte, error) {
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("internal: library: %w", err)
	}
	return append(text, '\n'), nil
}
