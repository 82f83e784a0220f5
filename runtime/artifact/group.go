package artifact

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/want"
)

// Groups: all heads of a layer in one launch, whatever the pattern of each. docs/design-plans.md has the reasons.

var ofSection = regexp.MustCompile(`^s([0-9]{1,3})_(.*)$`)

// split tells which section a parameter is of, -1 for all, and its name there.
func split(p Param) (int, Param) {
	m := ofSection.FindStringSubmatch(p.Name)
	if m == nil {
		return -1, p
	}
	n, _ := strconv.Atoi(m[1])
	p.Name = m[2]
	if t := ofSection.FindStringSubmatch(p.Tensor); t != nil && t[1] == m[1] {
		p.Tensor = t[2]
	}
	return n, p
}

// Split lists the parameters by their names in their sections, and which section each is of, -1 for all of them.
func (c *Code) Split() (params []Param, sections []int) {
	for _, p := range c.Params {
		n, own := split(p)
		params, sections = append(params, own), append(sections, n)
	}
	return params, sections
}

// verifySections checks that every section takes what its schedule and the call ask of it, and nothing else.
func (r *reader) verifySections(build int, c *Code) error {
	params, sections := c.Split()
	own := make([][]Param, len(c.Sections)) // the parameters of the kernel among them
	for i, p := range params {
		switch n := sections[i]; {
		case n >= len(own):
			return fmt.Errorf("kernel parameter %q is of a section that is not there", c.Params[i].Name)
		case n >= 0:
			own[n] = append(own[n], p)
		default:
			for j := range own {
				own[j] = append(own[j], p)
			}
		}
	}
	all := make([][]Param, len(c.Sections))
	for i, s := range c.Sections {
		asked, err := r.askedOf(build, s)
		if err == nil {
			err = verifyAsked(own[i], asked)
		}
		if err != nil {
			return fmt.Errorf("section %d: %w", i, err)
		}
		all[i] = asked
	}
	return verifyKnown(params, sections, all)
}

// verifyKnown checks that every parameter of a group is asked for by its section, or by some section.
func verifyKnown(params []Param, sections []int, asked [][]Param) error {
	for i, p := range params {
		name, in, where := p.Name, asked, ""
		if p.Type == abi.MapType {
			name = p.Tensor
		}
		if n := sections[i]; n >= 0 {
			in, where = asked[n:n+1], fmt.Sprintf("section %d: ", n)
		}
		if !slices.ContainsFunc(slices.Concat(in...), func(a Param) bool { return a.Name == name }) {
			return fmt.Errorf("%skernel parameter %q is unknown", where, p.Name)
		}
	}
	return nil
}

// askedOf are the parameters that a section must have.
func (r *reader) askedOf(build int, s Section) ([]Param, error) {
	if err := want.All(
		want.That(s.Pattern >= 0 && s.Pattern < len(r.parts), "pattern", fmt.Sprint(s.Pattern), fmt.Sprintf("one of %d", len(r.parts))),
		want.That(want.Multiple(s.TileRows, 16, 16, 1024), "tile_rows", fmt.Sprint(s.TileRows), "a multiple of 16 from 16 to 1024"),
		want.That(want.Multiple(s.Tiles, 1, 1, 8), "tiles", fmt.Sprint(s.Tiles), "1 to 8"),
		want.That(want.Multiple(s.BlocksPerSM, 1, 0, 32), "blocks_per_sm", fmt.Sprint(s.BlocksPerSM), "at most 32"),
	); err != nil {
		return nil, err
	}
	of := r.parts[s.Pattern][build]
	schedule := of.Schedule
	if s.Dense {
		schedule = of.Dense
	}
	if schedule == nil {
		return nil, fmt.Errorf("pattern %d has no dense schedule", s.Pattern)
	}
	asked := abi.WithLengths(abi.SectionAsked(schedule), r.Manifest.Builds[build].Lengths)
	if s.BlocksPerSM > 0 {
		if len(schedule.Lists()) == 0 {
			return nil, fmt.Errorf("blocks_per_sm is %d, want 0 without lists", s.BlocksPerSM)
		}
		asked = append(asked, abi.SectionQueueParams...)
	}
	return asked, nil
}

// verifyServed checks that something computes a pattern of a build, and its dense schedule if it has one: a kernel of its own, or a section
// of a group.
func (m *Manifest) verifyServed(build, pattern int) error {
	for _, dense := range []bool{false, true} {
		if dense && m.Patterns[pattern].Lowered[build].Dense == "" {
			continue
		}
		if m.Kernel(&m.Patterns[pattern].Lowered[build], attentionName(dense)) == nil && m.section(build, pattern, dense) == nil {
			return fmt.Errorf("pattern %d (dense: %v) has no kernel and no section in a group for %s", pattern, dense, m.Builds[build].Select())
		}
	}
	return nil
}

// section is the first section of a build's groups for a pattern, nil if there is none.
func (m *Manifest) section(build, pattern int, dense bool) *Section {
	for _, n := range m.Builds[build].Groups {
		sections := m.Codes[n].Sections
		for i := range sections {
			if sections[i].Pattern == pattern && sections[i].Dense == dense {
				return &sections[i]
			}
		}
	}
	return nil
}

// attentionName is what programs call a kernel of attention.
func attentionName(dense bool) string {
	if dense {
		return abi.Dense
	}
	return abi.Attend
}

// BlockRows is the number of query rows that a block of a pattern's attention takes at a time, sparse or dense; 0 if nothing computes it.
func (m *Manifest) BlockRows(build, pattern int, dense bool) int {
	if c := m.Kernel(&m.Patterns[pattern].Lowered[build], attentionName(dense)); c != nil {
		return c.BlockRows
	}
	if s := m.section(build, pattern, dense); s != nil {
		return s.TileRows
	}
	return 0
}
