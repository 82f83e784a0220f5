// Package flags reads the values of flags, and says what to give instead of a wrong one.
package flags

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/suggest"
	"github.com/minfc/minfc/passes"
)

// Emission is the value of --emit: KIND or KIND=PATH; without a path, it is standard output.
type Emission struct{ Form, Path string }

func (e *Emission) UnmarshalText(text []byte) error {
	kind, path, found := strings.Cut(string(text), "=")
	if !found {
		path = "-"
	}
	if !slices.Contains(compile.Forms, kind) {
		return fmt.Errorf("%q is not a form to emit, want one of %s%s",
			kind, strings.Join(compile.Forms, ", "), suggest.Hint(kind, compile.Forms))
	}
	if path == "" {
		return fmt.Errorf("no path after %q", kind+"=")
	}
	*e = Emission{kind, path}
	return nil
}

// Setting is the value of --set: name=value.
type Setting struct {
	Name  string
	Value int64
}

func (s *Setting) UnmarshalText(text []byte) error {
	name, value, found := strings.Cut(string(text), "=")
	if !found || name == "" {
		return fmt.Errorf("%q is not name=value", text)
	}
	n, err := parseCount(value)
	if err != nil {
		return fmt.Errorf("the value of %s is %q, want an integer such as 4096, 4k (4096) or 1m (1048576)", name, value)
	}
	*s = Setting{name, n}
	return nil
}

// Values collects the settings; a name set twice is an error.
func Values(settings []Setting) (map[string]int64, error) {
	out := map[string]int64{}
	for _, s := range settings {
		if _, twice := out[s.Name]; twice {
			return nil, failure.Usagef("--set %s is given twice", s.Name)
		}
		out[s.Name] = s.Value
	}
	return out, nil
}

// Pass is the value of --print-after: the name of a pass, all, or nothing.
type Pass string

func (p *Pass) UnmarshalText(text []byte) error {
	var names []string
	for _, pass := range passes.Table() {
		names = append(names, pass.Name)
	}
	if name := string(text); name != "" && name != everyPass && !slices.Contains(names, name) {
		return fmt.Errorf("no pass %q, want all or one of %s%s", name, strings.Join(names, ", "), suggest.Hint(name, names))
	}
	*p = Pass(text)
	return nil
}

const everyPass = "all"

// Names says whether a pass is among the ones that the value names.
func (p Pass) Names(pass string) bool { return p == everyPass || string(p) == pass }
