package compile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/internal/codegen"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/passes"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime/artifact"
)

// Member is one of the patterns that share the heads of a layer.
type Member struct {
	*Program
	Consts map[string]int64 // values of const parameters; the others keep their defaults
	// Copies is how many sets of launch parameters, budgets aside, the heads of one launch may have; 0 is 1. More of them take a
	// launch more.
	Copies int
}

// Group compiles patterns into one artifact that runs them together, each on heads of its own: all heads of a layer in one
// launch. Of opts it uses Target, DType, HeadDim, Verify, Module and Timing. The same input gives the same artifact.
func Group(members []Member, opts Options) (*artifact.Artifact, error) {
	if len(members) == 0 {
		return nil, fmt.Errorf("there are no patterns to compile")
	}
	c := &groupCompiler{members: members, artifact: newArtifact()}
	m := &c.artifact.Manifest
	for _, x := range members {
		consts, err := x.bake(x.Consts)
		if err != nil {
			return nil, err
		}
		c.consts = append(c.consts, consts)
		m.Patterns = append(m.Patterns, artifact.Pattern{Text: x.baked(consts).String(), Source: x.Source})
	}
	for i, x := range members { // one by one, for the places of what no kernel has
		if u := x.supports(x.Pattern.Keep, c.consts[i]); u != nil {
			return nil, x.place(u, c.consts[i])
		}
	}
	for _, target := range opts.targets() {
		if err := c.compileFor(opts.forTarget(target)); err != nil {
			return nil, err
		}
	}
	if err := c.addPrograms(opts); err != nil {
		return nil, err
	}
	if err := c.artifact.Verify(); err != nil {
		return nil, fmt.Errorf("internal: %w", err)
	}
	return c.artifact, nil
}

// Plan is Group of what the heads of some layers need. program finds patterns by name; nil takes the library's patterns.
func Plan(opts Options, program func(name string) (*Program, error), layers ...[]plan.Head) (*artifact.Artifact, error) {
	uses, err := plan.Uses(layers...)
	if err != nil {
		return nil, err
	}
	if program == nil {
		program = LoadLibrary
	}
	var members []Member
	for _, u := range uses {
		p, err := program(u.Pattern.Name)
		if err != nil {
			return nil, err
		}
		members = append(members, Member{p, u.Consts, u.Copies})
	}
	return Group(members, opts)
}

// LoadLibrary reads a pattern of the library.
func LoadLibrary(name string) (*Program, error) {
	file, src, ok := patterns.Source(name)
	if !ok {
		return nil, fmt.Errorf("the library has no pattern %q, it has %s", name, strings.Join(patterns.Names(), ", "))
	}
	return Load(file, src, Options{})
}

type groupCompiler struct {
	members  []Member
	consts   []map[string]int64 // of each member
	artifact *artifact.Artifact
	first    []*ir.Schedule // of each member, for the first target: its program is alike for all
}

// compileFor compiles the groups of a target: one with all sections and, where blocks of ranges are others beside lists than by
// themselves, one with the sections that read none.
func (c *groupCompiler) compileFor(o Options) error {
	tile, err := codegen.TileFor(o.Target, o.HeadDim, false)
	if err != nil {
		return err
	}
	beside, same, err := codegen.BesideLists(o.Target, o.HeadDim)
	if err != nil {
		return err
	}
	alone, err := c.sections(o, tile)
	if err != nil {
		return err
	}
	all, lists := alone, slices.ContainsFunc(alone, groupSection.reads)
	if lists && !same {
		if all, err = c.sections(o, beside); err != nil {
			return err
		}
	}
	m := &c.artifact.Manifest
	m.Builds = append(m.Builds, artifact.Build{Target: o.Target, DType: o.DType, HeadDim: o.HeadDim})
	c.describe(alone)
	if err := c.addGroups(o, all, lists); err != nil {
		return err
	}
	if lists && !same {
		return c.addGroups(o, slices.DeleteFunc(alone, groupSection.reads), false)
	}
	return nil
}

// groupSection is a section of a group before it is compiled.
type groupSection struct {
	member   int
	dense    bool
	schedule *ir.Schedule
}

func (s groupSection) reads() bool { return len(s.schedule.Index) > 0 }

// sections lists the sections of all members, their ranges cut to a tile: one of each first, copies after them, so that what most layers
// need stays together.
func (c *groupCompiler) sections(o Options, tile ir.Tile) (out []groupSection, err error) {
	var of [][]groupSection // of each member
	most := 0
	for i := range c.members {
		own, err := c.sectionsOf(o, i, tile)
		if err != nil {
			return nil, err
		}
		of, most = append(of, own), max(most, c.members[i].Copies)
	}
	for n := range max(1, most) {
		for i, own := range of {
			if n < max(1, c.members[i].Copies) {
				out = append(out, own...)
			}
		}
	}
	return out, nil
}

// sectionsOf are a member's: sparse and dense, or one where no list is read.
func (c *groupCompiler) sectionsOf(o Options, member int, tile ir.Tile) (out []groupSection, err error) {
	m, consts := c.members[member], c.consts[member]
	run := func(p *ir.Pattern, tile ir.Tile) (*ir.Schedule, error) {
		return passes.Run(p, passes.Options{Tile: tile, Consts: consts, Verify: o.Verify, Time: o.Timing})
	}
	ranges := m.Pattern
	if len(m.Pattern.Index) > 0 {
		lists, err := codegen.TileFor(o.Target, o.HeadDim, true)
		if err != nil {
			return nil, err
		}
		sparse, err := run(m.Pattern, lists)
		if err != nil {
			return nil, err
		}
		if len(sparse.Index) > 0 {
			out, ranges = append(out, groupSection{member, false, sparse}), m.Pattern.Widest()
		}
	}
	s, err := run(ranges, tile)
	return append(out, groupSection{member, len(out) > 0, s}), err
}

// addGroups compiles a kernel of all these sections, or as many as it takes; beside says what their ranges are cut to.
func (c *groupCompiler) addGroups(o Options, sections []groupSection, beside bool) error {
	err := c.addGroup(o, sections, beside)
	if !errors.Is(err, codegen.ErrParams) || len(sections) == 1 {
		return err
	}
	half := len(sections) / 2
	if err := c.addGroups(o, sections[:half], beside); err != nil {
		return err
	}
	return c.addGroups(o, sections[half:], beside)
}

// addGroup compiles a kernel of all these sections.
func (c *groupCompiler) addGroup(o Options, sections []groupSection, beside bool) error {
	var schedules []*ir.Schedule
	for _, s := range sections {
		schedules = append(schedules, s.schedule)
	}
	done := o.clock("group codegen")
	kernel, err := codegen.Group(schedules, codegen.Config{HeadDim: o.HeadDim, DType: codegen.DType(o.DType), Target: o.Target, BesideLists: beside})
	done()
	if err != nil {
		return err
	}
	defer o.clock("group ptxgen")()
	o.show(kernel)
	k, err := o.ptx(kernel, o.Target)
	if err != nil {
		return err
	}
	n := k.addTo(c.artifact, o.Target)
	for i, s := range sections {
		x := k.Sections[i]
		c.artifact.Manifest.Codes[n].Sections = append(c.artifact.Manifest.Codes[n].Sections,
			artifact.Section{Pattern: s.member, Dense: s.dense, TileRows: x.TileRows, Tiles: x.Tiles, BlocksPerSM: x.BlocksPerSM})
	}
	build := &c.artifact.Manifest.Builds[len(c.artifact.Manifest.Builds)-1]
	build.Groups = append(build.Groups, n)
	return nil
}

// describe adds the members' schedules for a target. Ranges are described by the tiles that they have by themselves, because the cost model
// knows these.
func (c *groupCompiler) describe(sections []groupSection) {
	builds := len(c.artifact.Manifest.Builds)
	for _, s := range sections {
		if s.member == len(c.first) {
			c.first = append(c.first, s.schedule)
		}
		p := &c.artifact.Manifest.Patterns[s.member]
		switch {
		case !s.dense && len(p.Lowered) < builds: // else a copy
			p.Lowered = append(p.Lowered, artifact.Lowered{Schedule: s.schedule.String()})
		case s.dense:
			p.Lowered[builds-1].Dense = s.schedule.String()
		}
	}
}

// addPrograms makes the programs of all members, compiles their kernels, each once, and gives every member the kernels that it needs.
func (c *groupCompiler) addPrograms(o Options) error {
	programs := make([]*ir.Program, len(c.members))
	for i, s := range c.first {
		var err error
		if programs[i], err = passes.Program(s); err != nil {
			return err
		}
	}
	kernels, err := o.generateIndex(programs...)
	if err != nil {
		return err
	}
	for i, p := range programs {
		number := c.artifact.AddProgram(p.String())
		for n := range c.artifact.Manifest.Patterns[i].Lowered {
			c.artifact.Manifest.Patterns[i].Lowered[n].Program = number
		}
	}
	for _, x := range kernels {
		use := artifact.Use{Name: x.name, Code: x.addTo(c.artifact, indexTarget)}
		for i, p := range programs {
			if !slices.Contains(p.KernelNames(), x.name) {
				continue
			}
			for n := range c.artifact.Manifest.Patterns[i].Lowered {
				l := &c.artifact.Manifest.Patterns[i].Lowered[n]
				l.Kernels = append(l.Kernels, use)
			}
		}
	}
	return nil
}
