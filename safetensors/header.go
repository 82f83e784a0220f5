package safetensors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// parseHeader reads the JSON header token by token: encoding/json's maps would silently keep the last of two equal names.
func parseHeader(src []byte) ([]Info, error) {
	if len(src) == 0 || src[0] != '{' {
		return nil, fmt.Errorf("it does not begin with '{'")
	}
	if !utf8.Valid(src) {
		return nil, fmt.Errorf("it is not valid utf-8")
	}
	p := &headerParser{dec: json.NewDecoder(bytes.NewReader(src))}
	p.dec.UseNumber()
	var tensors []Info
	err := p.object(func(name string) error {
		if name == "__metadata__" {
			return p.metadata()
		}
		t, err := p.tensor(name)
		tensors = append(tensors, t)
		return err
	})
	if err != nil {
		return nil, err
	}
	if rest := bytes.Trim(src[p.dec.InputOffset():], " "); len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes follow the closing brace", len(rest))
	}
	return tensors, nil
}

type headerParser struct{ dec *json.Decoder }

// object calls member for each key of the object that comes next; duplicate keys are errors.
func (p *headerParser) object(member func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	return p.members(member)
}

// members reads what follows the opening brace of an object.
func (p *headerParser) members(member func(key string) error) error {
	seen := map[string]bool{}
	for p.dec.More() {
		key, err := p.string()
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("name %q appears twice", key)
		}
		seen[key] = true
		if err := member(key); err != nil {
			return err
		}
	}
	return p.delim('}')
}

// metadata skips the free-form map of strings, or the null that some writers put where there is none.
func (p *headerParser) metadata() error {
	tok, err := p.dec.Token()
	switch {
	case err != nil:
		return err
	case tok == nil:
		return nil
	case tok != json.Delim('{'):
		return fmt.Errorf("__metadata__: found %s, wanted an object of strings or null", word(tok))
	}
	return p.members(func(key string) error {
		if _, err := p.string(); err != nil {
			return fmt.Errorf("__metadata__, %q: %w", key, err)
		}
		return nil
	})
}

func (p *headerParser) tensor(name string) (Info, error) {
	t := Info{Name: name}
	var offsets []int
	fields := map[string]bool{}
	err := p.object(func(key string) (err error) {
		fields[key] = true
		switch key {
		case "dtype":
			var s string
			s, err = p.string()
			t.DType = DType(s)
		case "shape":
			t.Shape, err = p.naturals()
		case "data_offsets":
			offsets, err = p.naturals()
		default:
			err = fmt.Errorf("unknown field %q, wanted dtype, shape and data_offsets", key)
		}
		return err
	})
	if err != nil {
		return t, fmt.Errorf("tensor %q: %w", name, err)
	}
	switch {
	case len(fields) != 3:
		return t, fmt.Errorf("tensor %q: wanted dtype, shape and data_offsets, one is missing", name)
	case t.DType == "":
		return t, fmt.Errorf("tensor %q: the type is empty", name)
	case len(offsets) != 2:
		return t, fmt.Errorf("tensor %q: %d data_offsets, wanted 2", name, len(offsets))
	}
	t.begin, t.end = uint64(offsets[0]), uint64(offsets[1])
	return t, nil
}

// naturals reads an array of integers >= 0.
func (p *headerParser) naturals() ([]int, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	out := []int{}
	for p.dec.More() {
		tok, err := p.dec.Token()
		if err != nil {
			return nil, err
		}
		num, ok := tok.(json.Number)
		if !ok {
			return nil, fmt.Errorf("found %s, wanted a number", word(tok))
		}
		n, err := strconv.ParseUint(num.String(), 10, 63)
		if err != nil || n > math.MaxInt {
			return nil, fmt.Errorf("found %s, wanted an integer from 0 to %d", num, math.MaxInt)
		}
		out = append(out, int(n))
	}
	return out, p.delim(']')
}

func (p *headerParser) string() (string, error) {
	tok, err := p.dec.Token()
	if err != nil {
		return "", err
	}
	s, ok := tok.(string)
	if !ok {
		return "", fmt.Errorf("found %s, wanted a string", word(tok))
	}
	return s, nil
}

func (p *headerParser) delim(want json.Delim) error {
	tok, err := p.dec.Token()
	if err != nil {
		return err
	}
	if tok != want {
		return fmt.Errorf("found %s, wanted %v", word(tok), want)
	}
	return nil
}

// word is a token as JSON writes it.
func word(tok json.Token) string {
	if tok == nil {
		return "null"
	}
	return fmt.Sprint(tok)
}
