package artifact

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/want"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// Verify checks that the artifact can be loaded and launched as far as that can be known without a device:
//   - it has builds, patterns and codes, and what is named by number exists
//   - entries are PTX names; targets, data types, head dims and launch sizes are in range
//   - patterns and schedules parse and verify
//   - programs parse and verify against the kernels, and attention takes all that its schedule asks of it
//   - a dense schedule stands beside one with lists and reads none
//   - groups have sections for every pattern that has no kernel of its own
//
// Errors wrap ErrManifest, or ErrVersion for another schema.
func (a *Artifact) Verify() error {
	_, err := a.read()
	return err
}

// Part is what an artifact says of one pattern for one build, read and checked.
type Part struct {
	Pattern         *ir.Pattern
	Schedule, Dense *ir.Schedule // Dense is nil if there is none
	Program         *ir.Program
}

// ReadParts verifies the artifact, and reads what it says for each build of each pattern. What is returned must not be changed.
func (a *Artifact) ReadParts() ([][]Part, error) {
	r, err := a.read()
	if err != nil {
		return nil, err
	}
	out := make([][]Part, len(a.Manifest.Builds))
	for _, parts := range r.parts {
		for build, part := range parts {
			out[build] = append(out[build], part)
		}
	}
	return out, nil
}

// reader is an artifact while it is read.
type reader struct {
	*Artifact
	parts [][]Part // of each pattern, for each build
}

func (a *Artifact) read() (*reader, error) {
	m := &a.Manifest
	if s := m.Schema; s != SchemaVersion {
		return nil, fmt.Errorf("%w: its manifest has schema %d, this program reads schema %d; %s",
			ErrVersion, s, SchemaVersion, versionAdvice(s, SchemaVersion))
	}
	if len(m.Builds) == 0 || len(m.Patterns) == 0 {
		return nil, fmt.Errorf("%w: it has %d patterns for %d targets, want one or more of each", ErrManifest, len(m.Patterns), len(m.Builds))
	}
	r := &reader{Artifact: a}
	for _, step := range []func() error{r.readCodes, r.readBuilds, r.readPatterns, r.readGroups} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrManifest, err)
		}
	}
	return r, nil
}

var (
	entryName  = regexp.MustCompile(`^[a-zA-Z_$%][a-zA-Z0-9_$]*$`)
	ptxVersion = regexp.MustCompile(`^[1-9]\.[0-9]$`)
)

func (r *reader) readCodes() error {
	for i := range r.Manifest.Codes {
		if err := r.Manifest.Codes[i].verify(len(r.Modules)); err != nil {
			return fmt.Errorf("code %d: %w", i, err)
		}
	}
	return nil
}

func (c *Code) verify(modules int) error {
	if err := want.All(
		want.That(entryName.MatchString(c.Entry), "entry", fmt.Sprintf("%q", c.Entry), "a PTX name"),
		want.That(device.IsTarget(c.Target), "target", fmt.Sprintf("%q", c.Target), "a GPU generation such as sm_80"),
		want.That(ptxVersion.MatchString(c.PTXVersion), "ptx_version", fmt.Sprintf("%q", c.PTXVersion), "a number such as 7.4"),
		want.That(want.Multiple(c.Threads, 1, 1, 1024), "threads", fmt.Sprint(c.Threads), "1 to 1024"),
		want.That(want.Multiple(c.SharedBytes, 1, 0, 1<<20), "shared_bytes", fmt.Sprint(c.SharedBytes), "at most 1 MB"),
		want.That(want.Multiple(c.BlockRows, 16, 0, 1024), "block_rows", fmt.Sprint(c.BlockRows), "a multiple of 16 up to 1024"),
		want.That(c.Module >= 0 && c.Module < modules, "module", fmt.Sprint(c.Module), fmt.Sprintf("one of the file's %d", modules)),
	); err != nil {
		return err
	}
	return verifyParams(c.Params)
}

func (r *reader) readBuilds() error {
	for i, b := range r.Manifest.Builds {
		if err := want.All(
			want.That(device.IsTarget(b.Target), "target", fmt.Sprintf("%q", b.Target), "a GPU generation such as sm_80"),
			want.That(b.DType.Check() == nil, "dtype", fmt.Sprintf("%q", b.DType), abi.JoinDTypes(" or ")),
			want.That(abi.CheckHeadDim(b.HeadDim) == nil, "head_dim", fmt.Sprint(b.HeadDim), abi.HeadDims()),
		); err != nil {
			return fmt.Errorf("build %d: %w", i, err)
		}
		if slices.IndexFunc(r.Manifest.Builds, func(o Build) bool { return o.Select() == b.Select() }) != i {
			return fmt.Errorf("build %d: there are two for %s", i, b.Select())
		}
		for _, n := range b.Groups {
			if err := r.verifyCodeNumber(n); err != nil {
				return fmt.Errorf("build %d: group: %w", i, err)
			}
		}
	}
	return nil
}

func (r *reader) verifyCodeNumber(n int) error {
	return want.All(want.That(n >= 0 && n < len(r.Manifest.Codes), "code", fmt.Sprint(n), fmt.Sprintf("one of %d", len(r.Manifest.Codes))))
}

func (r *reader) readPatterns() error {
	for i := range r.Manifest.Patterns {
		p := &r.Manifest.Patterns[i]
		pattern, err := readPattern(p.Text)
		if err != nil {
			return fmt.Errorf("pattern %d: %w", i, err)
		}
		if len(p.Lowered) != len(r.Manifest.Builds) {
			return fmt.Errorf("pattern %d is lowered %d times, want once for each of %d builds", i, len(p.Lowered), len(r.Manifest.Builds))
		}
		r.parts = append(r.parts, nil)
		for b := range p.Lowered {
			part, err := r.readLowered(&p.Lowered[b])
			if err == nil {
				err = r.verifyAttention(&p.Lowered[b], part, r.Manifest.Builds[b].Lengths)
			}
			if err == nil {
				err = r.verifyProgram(&p.Lowered[b], part)
			}
			if err != nil {
				return fmt.Errorf("pattern %d for %s: %w", i, r.Manifest.Builds[b].Select(), err)
			}
			part.Pattern = pattern
			r.parts[i] = append(r.parts[i], part)
		}
	}
	return nil
}

func readPattern(text string) (*ir.Pattern, error) {
	p, err := ir.ParsePattern(text)
	if err != nil {
		return nil, err
	}
	return p, p.Verify()
}

// readLowered reads schedules and program.
func (r *reader) readLowered(l *Lowered) (part Part, err error) {
	if part.Schedule, err = readSchedule(l.Schedule); err != nil {
		return part, err
	}
	if l.Dense != "" {
		if part.Dense, err = readSchedule(l.Dense); err != nil {
			return part, fmt.Errorf("dense: %w", err)
		}
		if len(part.Schedule.Index) == 0 || len(part.Dense.Index) > 0 {
			return part, fmt.Errorf("dense_schedule is there, want it without lists, beside a schedule with lists")
		}
	}
	for i, u := range l.Kernels {
		if err := r.verifyCodeNumber(u.Code); err != nil {
			return part, fmt.Errorf("kernel %q: %w", u.Name, err)
		}
		if u.Name == "" || slices.ContainsFunc(l.Kernels[:i], func(o Use) bool { return o.Name == u.Name }) {
			return part, fmt.Errorf("kernel name is %q, want one of its own", u.Name)
		}
	}
	if l.Program < 0 || l.Program >= len(r.Manifest.Programs) {
		return part, fmt.Errorf("program is %d, want one of %d", l.Program, len(r.Manifest.Programs))
	}
	if part.Program, err = ir.ParseProgram(r.Manifest.Programs[l.Program]); err != nil {
		return part, fmt.Errorf("program: %w", err)
	}
	return part, nil
}

func readSchedule(text string) (*ir.Schedule, error) {
	s, err := ir.ParseSchedule(text)
	if err != nil {
		return nil, fmt.Errorf("schedule: %w", err)
	}
	return s, s.Verify()
}

// verifyAttention checks that kernels of a pattern's own take all that their schedules and the call ask of them.
func (r *reader) verifyAttention(l *Lowered, part Part, lengths bool) error {
	attend, dense := r.Manifest.Kernel(l, abi.Attend), r.Manifest.Kernel(l, abi.Dense)
	if attend == nil { // readGroups finds out
		return nil
	}
	if err := verifyAsked(attend.Params, abi.WithLengths(abi.Params(part.Schedule), lengths)); err != nil {
		return err
	}
	if attend.BlockRows == 0 || dense != nil && dense.BlockRows == 0 {
		return fmt.Errorf("block_rows is 0, want the query rows that a block of attention takes at a time")
	}
	switch {
	case part.Dense == nil:
		return nil
	case dense == nil:
		return fmt.Errorf("there is no kernel %s for its dense_schedule", abi.Dense)
	}
	if err := verifyAsked(dense.Params, abi.WithLengths(abi.Params(part.Dense), lengths)); err != nil {
		return fmt.Errorf("dense kernel: %w", err)
	}
	return nil
}

// verifyProgram checks the program against its kernels.
func (r *reader) verifyProgram(l *Lowered, part Part) error {
	if err := part.Program.Verify(part.Schedule.Params, r.Manifest.Params(l)); err != nil || r.Manifest.Kernel(l, abi.Attend) == nil {
		return err
	}
	parts, runs := []string{ir.PartAttend}, []string{abi.Attend}
	if part.Dense != nil {
		parts, runs = append(parts, ir.PartDecide, ir.PartDense), append(runs, abi.Dense)
	}
	return verifyRuns(part.Program, parts, runs)
}

// verifyRuns checks that the program has the parts that a call asks it for: without one, a launch would succeed and compute nothing.
func verifyRuns(p *ir.Program, parts, kernels []string) error {
	for _, part := range parts {
		if p.Part(part) == nil {
			return fmt.Errorf("program %s has no part %s", p.Name, part)
		}
	}
	for _, kernel := range kernels {
		if !slices.Contains(p.KernelNames(), kernel) {
			return fmt.Errorf("program %s does not run the kernel %s", p.Name, kernel)
		}
	}
	return nil
}

// readGroups checks the groups, and that they or kernels of its own compute each pattern.
func (r *reader) readGroups() error {
	for b := range r.Manifest.Builds {
		for _, n := range r.Manifest.Builds[b].Groups {
			if err := r.verifySections(b, &r.Manifest.Codes[n]); err != nil {
				return fmt.Errorf("code %d: %w", n, err)
			}
		}
		for i := range r.Manifest.Patterns {
			if err := r.Manifest.verifyServed(b, i); err != nil {
				return err
			}
		}
	}
	return nil
}
