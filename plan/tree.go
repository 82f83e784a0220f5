package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// node is a JSON value that knows where it stands, so that every message can say so.
type node struct {
	at     int // bytes from the start of the file
	value  any // nil, bool, json.Number or string; json.Delim '[' or '{' for the others
	items  []*node
	fields []field
}

type field struct {
	at   int
	name string
	*node
}

// reader collects what is wrong in a file.
type reader struct {
	file  string
	data  []byte
	known Known
	errs  []error
	more  int // faults beyond the listed ones
}

// fault notes a fault at a place of the file.
func (r *reader) fault(at int, format string, args ...any) {
	if len(r.errs) == maxNamed {
		r.more++
		return
	}
	line, column := position(r.data, at)
	r.errs = append(r.errs, fmt.Errorf("%s:%d:%d: %w", r.file, line, column, fmt.Errorf(format, args...)))
}

func (r *reader) err() error {
	if r.more > 0 {
		r.errs = append(r.errs, fmt.Errorf("%s: %d more", r.file, r.more))
	}
	return errors.Join(r.errs...)
}

// position returns line and column from 1; columns count characters.
func position(data []byte, at int) (line, column int) {
	before := data[:min(at, len(data))]
	line = 1 + bytes.Count(before, []byte("\n"))
	return line, 1 + utf8.RuneCount(before[1+bytes.LastIndexByte(before, '\n'):])
}

// parse reads the whole file, or notes the first place that is not JSON.
func (r *reader) parse() *node {
	if at := notUTF8(r.data); at >= 0 {
		r.fault(at, "found the byte 0x%02x, wanted UTF-8 text: save the file as UTF-8", r.data[at])
		return nil
	}
	var any json.RawMessage
	var syntax *json.SyntaxError
	switch err := json.Unmarshal(r.data, &any); {
	case errors.As(err, &syntax):
		at := int(syntax.Offset)
		if at < len(r.data) || !strings.HasPrefix(syntax.Error(), "unexpected end") {
			at-- // the decoder's offset points at the next byte
		}
		r.fault(max(at, 0), "malformed JSON: %s", strings.TrimSuffix(syntax.Error(), " of JSON input"))
		return nil
	case err != nil:
		r.fault(0, "malformed JSON: %w", err)
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(r.data))
	d.UseNumber()
	n, err := r.node(d)
	if err != nil {
		r.fault(int(d.InputOffset()), "internal: %w", err)
		return nil
	}
	return n
}

// notUTF8 is where the first byte stands that is not UTF-8, -1 for nowhere. encoding/json would silently replace it.
func notUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// node reads the next value.
func (r *reader) node(d *json.Decoder) (*node, error) {
	n := &node{at: r.next(d)}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch n.value = token; token {
	case json.Delim('['):
		for d.More() {
			item, err := r.node(d)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
	case json.Delim('{'):
		if err := r.readFields(d, n); err != nil {
			return nil, err
		}
	default:
		return n, nil
	}
	_, err = d.Token() // the closing bracket
	return n, err
}

func (r *reader) readFields(d *json.Decoder, n *node) error {
	seen := map[string]bool{}
	for d.More() {
		at := r.next(d)
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return io.ErrUnexpectedEOF
		}
		value, err := r.node(d)
		if err != nil {
			return err
		}
		if seen[name] {
			r.fault(at, "%q is there twice", name)
			continue
		}
		seen[name] = true
		n.fields = append(n.fields, field{at, name, value})
	}
	return nil
}

// next is where the next token begins.
func (r *reader) next(d *json.Decoder) int {
	at := int(d.InputOffset())
	for at < len(r.data) && strings.IndexByte(" \t\r\n,:", r.data[at]) >= 0 {
		at++
	}
	return at
}

// isList and isObject note what a value is instead.
func (r *reader) isList(n *node, what string) bool {
	if n.value == json.Delim('[') {
		return true
	}
	r.fault(n.at, "%s: found %s, want a list", what, n.kind())
	return false
}

func (r *reader) isObject(n *node, what string) bool {
	if n.value == json.Delim('{') {
		return true
	}
	r.fault(n.at, "%s: found %s, want an object", what, n.kind())
	return false
}

// text reads a string; "" after a fault.
func (r *reader) text(n *node, what string) string {
	s, ok := n.value.(string)
	if !ok {
		r.fault(n.at, "%s: found %s, want a string", what, n.kind())
	}
	return s
}

// whole reads a whole number; ok is false after a fault.
func (r *reader) whole(n *node, what string) (v int64, ok bool) {
	if number, isNumber := n.value.(json.Number); isNumber {
		v, err := number.Int64()
		if err == nil {
			return v, true
		}
	}
	r.fault(n.at, "%s: found %s, want a whole number", what, n.kind())
	return 0, false
}

func (r *reader) float(n *node, what string) float64 {
	number, ok := n.value.(json.Number)
	v, err := number.Float64()
	if !ok || err != nil {
		r.fault(n.at, "%s: found %s, want a number", what, n.kind())
		return 0
	}
	return v
}

// kind words what a value is.
func (n *node) kind() string {
	switch v := n.value.(type) {
	case nil:
		return "null"
	case json.Delim:
		return map[json.Delim]string{'[': "a list", '{': "an object"}[v]
	case string:
		return fmt.Sprintf("the string %.40q", v)
	default:
		return fmt.Sprintf("%.40v", v)
	}
}
