package compile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/internal/codegen"
	"github.com/minfc/minfc/internal/suggest"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/passes"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime/artifact"
)

// Member is one of the patterns that share the heads of a layer.
type Member struct {
	*Program
	// Copies is how many sets of launch parameters, budgets aside, the heads of one launch may have; 0 is 1. More of them take a
	// launch more.
	Copies int
}

// Group compiles patterns into one artifact that runs them together, each on heads of its own: all heads of a layer in one
// launch. The same input gives the same artifact. watch may be nil.
func Group(members []Member, opts Options, watch *Observer) (*artifact.Artifact, error) {
	if len(members) == 0 {
		return nil, fmt.Errorf("there are no patterns to compile")
	}
	c := &groupCompiler{members: members, artifact: newArtifact()}
	m := &c.artifact.Manifest
	for _, x := range members {
		consts, err := passes.Consts(x.Pattern, x.consts)
		if err != nil {
			return nil, err
		}
		c.consts = append(c.consts, consts)
		m.Patterns = append(m.Patterns, artifact.Pattern{Text: x.Pattern.WithDefaults(consts).String(), Source: x.Source})
	}
	for i, x := range members { // one by one, for the places of what no kernel has
		if u := x.supports(x.Pattern.Keep, c.consts[i]); u != nil {
			return nil, x.place(u, c.consts[i])
		}
	}
	all := compiler{opts, watch}
	for _, target := range opts.Targets() {
		if err := c.compileFor(all.forTarget(target)); err != nil {
			return nil, err
		}
	}
	if err := c.addPrograms(all); err != nil {
		return nil, err
	}
	if err := c.artifact.Verify(); err != nil {
		return nil, fmt.Errorf("internal: %w", err)
	}
	return c.artifact, nil
}

// Plan is Group of what the heads of some layers need. program finds patterns by name; nil takes the library's patterns.
func Plan(layers [][]plan.Head, program func(name string) (*Program, error), opts Options, watch *Observer) (*artifact.Artifact, error) {
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
		members = append(members, Member{p.With(u.Consts), u.Copies})
	}
	return Group(members, opts, watch)
}

// LoadLibrary reads a pattern of the library.
func LoadLibrary(name string) (*Program, error) {
	file, src, ok := patterns.Source(name)
	if !ok {
		names := patterns.Names()
		return nil, fmt.Errorf("the library has no pattern %q, it has %s%s", name, strings.Join(names, ", "), suggest.Hint(name, names))
	}
	return Load(file, src, "", nil)
}

type groupCompiler struct {
	members  []Member
	consts   []map[string]int64 // of each member
	artifact *artifact.Artifact
	first    []*ir.Schedule // of each member, for the first target: its program is alike for all
}

// compileFor compiles the groups of a target.
func (c *groupCompiler) compileFor(by compiler) error {
	sections, err := c.sections(by)
	if err != nil {
		return err
	}
	var schedules []*ir.Schedule
	for _, s := range sections {
		schedules = append(schedules, s.schedule)
	}
	groups, err := codegen.Groups(schedules, by.config())
	if err != nil {
		return err
	}
	m := &c.artifact.Manifest
	m.Builds = append(m.Builds, artifact.Build{Target: by.Target, DType: by.DType, HeadDim: by.HeadDim, Lengths: by.Lengths})
	c.describe(sections)
	for _, g := range groups {
		if err := c.addGroup(by, sections, g); err != nil {
			return err
		}
	}
	return nil
}

// groupSection is a section of a group before it is compiled.
type groupSection struct {
	member   int
	dense    bool
	schedule *ir.Schedule // cut as for a kernel of its own
}

// sections lists the sections of all members: one of each first, copies after them, so that what most layers need stays together.
func (c *groupCompiler) sections(by compiler) (out []groupSection, err error) {
	var of [][]groupSection // of each member
	most := 0
	for i := range c.members {
		own, err := c.sectionsOf(by, i)
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

// errGivenGroup refuses a member.
var errGivenGroup = errors.New("lists that the caller gives are for all heads of a call, so their pattern shares no kernel with others: compile it by itself")

// sectionsOf lists the sections of a member: sparse and dense, or one where no list is read.
func (c *groupCompiler) sectionsOf(by compiler, member int) ([]groupSection, error) {
	s, err := c.schedule(by, member, false, passes.Options{})
	if err == nil && s.Given() {
		return nil, errGivenGroup
	}
	if err == nil {
		err = by.checkMeans(s)
	}
	if err != nil || len(s.Index) == 0 {
		return []groupSection{{member, false, s}}, err
	}
	dense, err := c.schedule(by, member, true, passes.Options{})
	if err == nil && !fallsBack(s, dense) {
		return []groupSection{{member, false, s}}, nil
	}
	return []groupSection{{member, false, s}, {member, true, dense}}, err
}

// schedule is the schedule of a member, or the one that its heads fall back to.
func (c *groupCompiler) schedule(by compiler, member int, dense bool, how passes.Options) (*ir.Schedule, error) {
	p := c.members[member].Pattern
	if dense {
		p = p.Widest()
	}
	how.Time = by.watch.timing()
	return by.schedule(p, c.consts[member], how)
}

// addGroup compiles a group of some of the sections; it may become several.
func (c *groupCompiler) addGroup(by compiler, all []groupSection, g codegen.Grouping) error {
	var sections []groupSection
	var schedules []*ir.Schedule
	for i, n := range g.Schedules {
		s, err := c.cutTo(by, all[n], g.Tiles[i])
		if err != nil {
			return err
		}
		sections, schedules = append(sections, all[n]), append(schedules, s)
	}
	done := by.watch.clock("group codegen")
	kernels, err := codegen.Group(schedules, g, by.config())
	done()
	if err != nil {
		return err
	}
	for _, k := range kernels {
		if err := c.addKernel(by, k, sections[:len(k.Sections)]); err != nil {
			return err
		}
		sections = sections[len(k.Sections):]
	}
	return nil
}

// cutTo is the schedule of a section for another tile than that of its own kernel.
func (c *groupCompiler) cutTo(by compiler, s groupSection, tile ir.Tile) (*ir.Schedule, error) {
	if s.schedule.Tile == tile {
		return s.schedule, nil
	}
	return c.schedule(by, s.member, s.dense, passes.Options{Tile: passes.Fixed(tile)})
}

// addKernel adds the kernel of a group with these sections to the artifact.
func (c *groupCompiler) addKernel(by compiler, kernel *codegen.Kernel, sections []groupSection) error {
	defer by.watch.clock("group ptxgen")()
	by.watch.show(kernel)
	k, err := by.ptx(kernel, by.Target)
	if err != nil {
		return err
	}
	n := k.addTo(c.artifact, by.Target)
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
func (c *groupCompiler) addPrograms(by compiler) error {
	programs := make([]*ir.Program, len(c.members))
	for i, s := range c.first {
		var err error
		if programs[i], err = passes.Program(s); err == nil && by.Lengths {
			err = passes.Lengths(programs[i])
		}
		if err != nil {
			return err
		}
	}
	kernels, err := by.generateIndex(programs...)
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
