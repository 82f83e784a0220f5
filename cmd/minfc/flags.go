package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/suggest"
)

// emission is the value of --emit: KIND or KIND=PATH.
type emission struct{ kind, path string }

func (e *emission) UnmarshalText(text []byte) error {
	kind, path, found := strings.Cut(string(text), "=")
	if !found {
		path = "-"
	}
	if !slices.Contains(compile.Forms, kind) {
		return fmt.Errorf("%q is not a form to emit, want one of %s%s", kind, strings.Join(compile.Forms, ", "), suggest.Hint(kind, compile.Forms))
	}
	if path == "" {
		return fmt.Errorf("no path after %q", kind+"=")
	}
	*e = emission{kind, path}
	return nil
}

// setting is the value of --set: name=value.
type setting struct {
	name  string
	value int64
}

func (s *setting) UnmarshalText(text []byte) error {
	name, value, found := strings.Cut(string(text), "=")
	if !found || name == "" {
		return fmt.Errorf("%q is not name=value", text)
	}
	n, err := parseCount(value)
	if err != nil {
		return fmt.Errorf("the value of %s is %q, want an integer such as 4096, 4k (4096) or 1m (1048576)", name, value)
	}
	*s = setting{name, n}
	return nil
}

// values collects the settings; a name set twice is an error.
func values(settings []setting) (map[string]int64, error) {
	out := map[string]int64{}
	for _, s := range settings {
		if _, twice := out[s.name]; twice {
			return nil, usagef("--set %s is given twice", s.name)
		}
		out[s.name] = s.value
	}
	return out, nil
}

// targetNames are the values of --target, for the tags of the commands.
var targetNames = kong.Vars{"targets": strings.Join(append([]string{compile.TargetAuto}, compile.Targets()...), ",")}

// wanted is a --target as packages runtime and bench take it, where none stands for the best.
func wanted(target targetName) string {
	if target == compile.TargetAuto {
		return ""
	}
	return string(target)
}
