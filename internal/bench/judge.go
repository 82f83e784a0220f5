package bench

import (
	"fmt"
	"maps"
	"slices"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/internal/suggest"
	"github.com/minfc/minfc/ir"
)

// Judge finds what is wrong with c whatever the device is: its patterns and their parameters besides what Check finds.
func (c Config) Judge() error {
	if err := c.Check(); err != nil {
		return err
	}
	left := maps.Clone(c.Set)
	var names []string
	for _, file := range c.Patterns {
		p, err := readPattern(file)
		if err != nil {
			return err
		}
		for _, x := range p.Params {
			delete(left, x.Name)
			names = append(names, x.Name)
		}
	}
	if unknown := slices.Sorted(maps.Keys(left)); len(unknown) > 0 {
		return fmt.Errorf("none of the patterns has a parameter %q%s", unknown[0], suggest.Hint(unknown[0], names))
	}
	return nil
}

// readPattern reads the pattern of a file or of an artifact.
func readPattern(file string) (*ir.Pattern, error) {
	in, err := input.Read(file)
	if err != nil {
		return nil, err
	}
	if in.Artifact != nil {
		s := &subject{}
		if err := s.fromArtifact(in.Artifact, Config{}); err != nil {
			return nil, fmt.Errorf("%s: %w", in.Name, err)
		}
		return s.pattern, nil
	}
	p, err := compile.Load(in.Name, in.Source, "", nil)
	if err == nil {
		err = p.Check()
	}
	if err != nil {
		return nil, err
	}
	return p.Pattern, nil
}
