package artifact

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/want"
	"github.com/minfc/minfc/ir"
)

// Groups: all heads of a layer in one launch, whatever the pattern of each. docs/design-plans.md has the reasons.

// Member is one of the patterns of a head plan. Its kernels, one a target, have no code of their own: entry, module and launch sizes come
// from the first group with a section for it; the index stage before it and the schedules are the pattern's.
type Member struct {
	Pattern string   `json:"pattern"` // text form of ir.Pattern
	Source  string   `json:"source"`  // the pattern in the language, for people
	Kernels []Kernel `json:"kernels"`
}

// Group is a kernel that runs several members in one launch, each on heads of its own. Parameters that every section has for itself
// begin with the section's number: "s0_row0", "s2_p_window".
type Group struct {
	Entry       string    `json:"entry"`
	Target      string    `json:"target"`
	DType       string    `json:"dtype"`
	HeadDim     int       `json:"head_dim"`
	Threads     int       `json:"threads"`
	SharedBytes int       `json:"shared_bytes"`
	Module      int       `json:"module"`
	PTXVersion  string    `json:"ptx_version"`
	Params      []Param   `json:"params"`
	Sections    []Section `json:"sections"`
}

// Section is a part of a group's grid: rows of it, that is a number of blocks along y, are blocks of one member, sparse or dense. A
// member may have several, for heads whose parameters differ.
type Section struct {
	Member      int  `json:"member"`
	Dense       bool `json:"dense,omitempty"`
	TileRows    int  `json:"tile_rows"`               // query rows of a row tile
	Tiles       int  `json:"tiles"`                   // row tiles that a block takes at a time
	BlocksPerSM int  `json:"blocks_per_sm,omitempty"` // of sections whose blocks take row tiles from a queue
}

// IsPlan says whether the artifact holds the patterns of a head plan. LoadGroups loads such an artifact, LoadKernel others.
func (a *Artifact) IsPlan() bool { return len(a.Manifest.Members) > 0 || len(a.Manifest.Groups) > 0 }

// Patterns lists the text forms of the artifact's patterns: one, or the patterns of a head plan.
func (a *Artifact) Patterns() (out []string) {
	if !a.IsPlan() {
		return []string{a.Manifest.Pattern}
	}
	for _, m := range a.Manifest.Members {
		out = append(out, m.Pattern)
	}
	return out
}

// Source is the text of a pattern in the language, as it was compiled; "" if it is not known.
func (a *Artifact) Source(pattern string) string {
	if !a.IsPlan() {
		return a.Manifest.Source
	}
	for _, m := range a.Manifest.Members {
		if p, err := ir.ParsePattern(m.Pattern); err == nil && p.Name == pattern {
			return m.Source
		}
	}
	return ""
}

func (a *Artifact) verifyPlan() error {
	m := &a.Manifest
	if m.Pattern != "" || len(m.Kernels) > 0 || len(m.Members) == 0 || len(m.Groups) == 0 {
		return fmt.Errorf("%w: it has members or groups, want both of them and no pattern and kernels beside", ErrManifest)
	}
	for i := range m.Members {
		if err := m.Members[i].verify(len(a.Modules)); err != nil {
			return fmt.Errorf("%w: member %d: %w", ErrManifest, i, err)
		}
	}
	for i := range m.Groups {
		g := &m.Groups[i]
		if err := g.verify(len(a.Modules)); err != nil {
			return fmt.Errorf("%w: group %d: %w", ErrManifest, i, err)
		}
		if err := m.verifySections(g); err != nil {
			return fmt.Errorf("%w: group %d: %w", ErrManifest, i, err)
		}
		if err := m.verifyServed(g); err != nil {
			return fmt.Errorf("%w: %w", ErrManifest, err)
		}
	}
	return nil
}

// verifyServed checks that the groups for what g is for have a section for every member, and for its dense kernel if it has one.
func (m *Manifest) verifyServed(g *Group) error {
	sel := g.Select()
	for i := range m.Members {
		k := m.Members[i].KernelFor(sel)
		if k == nil {
			return fmt.Errorf("member %d has no kernel for %s", i, sel)
		}
		for _, dense := range []bool{false, true} {
			served := slices.ContainsFunc(m.Groups, func(o Group) bool {
				return o.Select() == sel && slices.ContainsFunc(o.Sections, func(s Section) bool { return s.Member == i && s.Dense == dense })
			})
			if !served && (!dense || k.Dense != nil) {
				return fmt.Errorf("member %d (dense: %v) has no section in a group for %s", i, dense, sel)
			}
		}
	}
	return nil
}

func (m *Member) verify(modules int) error {
	if err := verifyPattern(m.Pattern); err != nil {
		return err
	}
	for i := range m.Kernels {
		k := &m.Kernels[i]
		s, err := k.verifyBody(modules)
		if err != nil {
			return fmt.Errorf("kernel %d: %w", i, err)
		}
		if _, err = k.verifyDense(s, modules); err == nil {
			_, err = k.ReadProgram(s, modules)
		}
		if err != nil {
			return fmt.Errorf("kernel %d: %w", i, err)
		}
	}
	return nil
}

// AsKernel is the group as far as it is a kernel like others.
func (g *Group) AsKernel() Kernel {
	return Kernel{Entry: g.Entry, Target: g.Target, DType: g.DType, HeadDim: g.HeadDim, Threads: g.Threads, SharedBytes: g.SharedBytes,
		Module: g.Module, PTXVersion: g.PTXVersion, RowTile: ir.BlockSize, KeyTile: ir.BlockSize}
}

func (g *Group) verify(modules int) error {
	k := g.AsKernel()
	if err := k.verifyNumbers(modules); err != nil {
		return err
	}
	for i, s := range g.Sections {
		if err := want.All(
			want.That(want.Multiple(s.TileRows, 16, 16, 1024), "tile_rows", fmt.Sprint(s.TileRows), "a multiple of 16 from 16 to 1024"),
			want.That(want.Multiple(s.Tiles, 1, 1, 8), "tiles", fmt.Sprint(s.Tiles), "1 to 8"),
			want.That(want.Multiple(s.BlocksPerSM, 1, 0, 32), "blocks_per_sm", fmt.Sprint(s.BlocksPerSM), "at most 32"),
		); err != nil {
			return fmt.Errorf("section %d: %w", i, err)
		}
	}
	return nil
}

// Select is what the group is for.
func (g *Group) Select() Select { return Select{g.HeadDim, g.DType, g.Target} }

// KernelFor is the member's kernel for what a group is for.
func (m *Member) KernelFor(sel Select) *Kernel {
	i := slices.IndexFunc(m.Kernels, func(k Kernel) bool { return k.matches(sel) })
	if i < 0 {
		return nil
	}
	return &m.Kernels[i]
}

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
func (g *Group) Split() (params []Param, sections []int) {
	for _, p := range g.Params {
		n, own := split(p)
		params, sections = append(params, own), append(sections, n)
	}
	return params, sections
}

// verifySections checks that every section takes what its schedule and the call ask of it, and nothing else.
func (m *Manifest) verifySections(g *Group) error {
	if err := verifyParams(g.Params); err != nil {
		return err
	}
	params, sections := g.Split()
	own := make([][]Param, len(g.Sections)) // the parameters of the kernel among them
	for i, p := range params {
		switch n := sections[i]; {
		case n >= len(own):
			return fmt.Errorf("kernel parameter %q is of a section that is not there", g.Params[i].Name)
		case n >= 0:
			own[n] = append(own[n], p)
		default:
			for j := range own {
				own[j] = append(own[j], p)
			}
		}
	}
	all := make([][]Param, len(g.Sections))
	for i, s := range g.Sections {
		asked, err := m.askedOf(g, s)
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
func (m *Manifest) askedOf(g *Group, s Section) ([]Param, error) {
	if s.Member < 0 || s.Member >= len(m.Members) {
		return nil, fmt.Errorf("member is %d, want one of %d", s.Member, len(m.Members))
	}
	k := m.Members[s.Member].KernelFor(g.Select())
	if k != nil && s.Dense {
		k = k.Dense
	}
	if k == nil {
		return nil, fmt.Errorf("member %d has no kernel for it", s.Member)
	}
	schedule, err := k.ReadSchedule()
	if err != nil {
		return nil, err
	}
	asked := abi.SectionAsked(schedule)
	if s.BlocksPerSM > 0 {
		if len(schedule.Index) == 0 {
			return nil, fmt.Errorf("blocks_per_sm is %d, want 0 where no data decides", s.BlocksPerSM)
		}
		asked = append(asked, abi.SectionQueueParams...)
	}
	return asked, nil
}
