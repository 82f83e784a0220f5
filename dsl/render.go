package dsl

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxRendered = 50  // diagnostics shown; the rest is counted
	maxColumns  = 160 // characters shown of one source line
	tabWidth    = 4
)

// Render writes diagnostics for a terminal: each with its source lines, the places underlined, then notes and help.
// src is the file as it was given to Parse, or File.Src.
func Render(file string, src []byte, ds Diagnostics) string {
	var b strings.Builder
	lines := newLineMap(bytes.TrimPrefix(src, byteOrderMark))
	for i, d := range ds {
		if i == maxRendered {
			fmt.Fprintf(&b, "and %d more\n", len(ds)-i)
			break
		}
		renderOne(&b, file, lines, d)
	}
	return b.String()
}

func renderOne(b *strings.Builder, file string, lines lineMap, d Diagnostic) {
	kind := "error"
	if d.IsWarning() {
		kind = "warning"
	}
	marks := append([]mark{{d.Primary, '^'}}, otherMarks(d.Others)...)
	sort.SliceStable(marks, func(i, j int) bool { return lines.line(marks[i].Span.Start) < lines.line(marks[j].Span.Start) })
	gutter := strings.Repeat(" ", len(fmt.Sprint(lines.line(marks[len(marks)-1].Span.Start))))

	line, col := lines.position(d.Primary.Span.Start)
	fmt.Fprintf(b, "%s[%s]: %s\n%s--> %s:%d:%d\n%s |\n", kind, d.Code, clean(d.Message), gutter, clean(file), line, col, gutter)
	last := 0
	for _, m := range marks {
		n := lines.line(m.Span.Start)
		if n != last && last != 0 && n != last+1 {
			b.WriteString("...\n")
		}
		renderMark(b, gutter, lines, m, n != last)
		last = n
	}
	fmt.Fprintf(b, "%s |\n", gutter)
	for _, note := range d.Notes {
		fmt.Fprintf(b, "%s = note: %s\n", gutter, clean(note))
	}
	if d.Help != "" {
		fmt.Fprintf(b, "%s = help: %s\n", gutter, clean(d.Help))
	}
	b.WriteString("\n")
}

// mark is a label and the character that underlines it.
type mark struct {
	Label
	under rune
}

func otherMarks(ls []Label) []mark {
	var out []mark
	for _, l := range ls {
		out = append(out, mark{l, '-'})
	}
	return out
}

// renderMark underlines one label, below its source line if that is not there yet.
func renderMark(b *strings.Builder, gutter string, lines lineMap, m mark, withLine bool) {
	n := lines.line(m.Span.Start)
	text, from, width := lines.excerpt(m.Span)
	if withLine {
		fmt.Fprintf(b, "%*d | %s\n", len(gutter), n, text)
	}
	under := strings.Repeat(" ", from) + strings.Repeat(string(m.under), width)
	fmt.Fprintf(b, "%s\n", strings.TrimRight(gutter+" | "+under+" "+clean(m.Text), " "))
}

// Position is the line and the column of a byte of a source, both from 1, the column in characters. Offsets outside the source count as
// its ends.
func Position(src []byte, at int) (line, column int) {
	return newLineMap(src).position(min(max(at, 0), len(src)))
}

// lineMap finds lines by offset.
type lineMap struct {
	src    []byte
	starts []int
}

func newLineMap(src []byte) lineMap {
	m := lineMap{src, []int{0}}
	for i, c := range src {
		if c == '\n' {
			m.starts = append(m.starts, i+1)
		}
	}
	return m
}

// line is the number of the line that holds the offset, from 1.
func (m lineMap) line(offset int) int {
	return sort.SearchInts(m.starts, offset+1)
}

// position is the line and the column in characters, both from 1.
func (m lineMap) position(offset int) (line, col int) {
	line = m.line(offset)
	return line, utf8.RuneCount(m.src[m.starts[line-1]:offset]) + 1
}

// excerpt is the line where the span starts, ready to print, with the span's place in it in characters. Long lines are
// cut around the span, and a span over several lines ends with its first.
func (m lineMap) excerpt(s Span) (text string, from, width int) {
	start := m.starts[m.line(s.Start)-1]
	end := start
	for end < len(m.src) && m.src[end] != '\n' {
		end++
	}
	before := printable(m.src[start:s.Start])
	inside := printable(m.src[s.Start:max(s.Start, min(s.End, end))])
	after := printable(m.src[max(s.Start, min(s.End, end)):end])
	if len(before) > maxColumns/2 {
		before = append([]rune("..."), before[len(before)-maxColumns/2:]...)
	}
	line := append(append(append([]rune{}, before...), inside...), after...)
	shown := line[:min(len(line), maxColumns)]
	width = max(1, min(len(inside), maxColumns-len(before)))
	return strings.TrimRight(string(shown), " "), len(before), width
}

// printable replaces tabs by spaces and whatever would disturb a terminal by a replacement character.
func printable(text []byte) []rune {
	var out []rune
	for _, r := range string(text) {
		switch {
		case r == '\t':
			out = append(out, []rune(strings.Repeat(" ", tabWidth))...)
		case r == '\r':
		case unicode.IsPrint(r):
			out = append(out, r)
		default:
			out = append(out, utf8.RuneError)
		}
	}
	return out
}

func clean(s string) string { return string(printable([]byte(s))) }
