package bench

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/internal/outlook"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// subject is one compiled pattern with the values of its parameters.
type subject struct {
	file     string // as named
	pattern  *ir.Pattern
	art      *artifact.Artifact
	build    artifact.Build // what of art fits
	schedule *ir.Schedule
	values   map[string]int64 // of all parameters
	launch   map[string]int64 // given values of launch parameters
	consts   map[string]int64 // given values of const parameters
	digest   string           // of the PTX
	baseline *subject         // what it is compared with; nil when that is not wanted, itself for a baseline

	kernels *runtime.Loaded // nil for a prediction of a pattern that no data decides
}

// newSubject compiles a source for target, or takes an artifact, and selects the kernel that dev runs.
func newSubject(file string, c Config, dev device.Info, target string) (*subject, error) {
	in, err := input.Read(file)
	if err != nil {
		return nil, err
	}
	s := &subject{file: file}
	if in.Artifact != nil {
		err = s.fromArtifact(in.Artifact, c)
	} else {
		err = s.fromSource(in, c, target)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in.Name, err)
	}
	sel := artifact.Select{HeadDim: c.HeadDim, DType: c.DType, Target: c.Target}
	if err := s.find(dev, sel); err != nil {
		return nil, fmt.Errorf("%s: %w", in.Name, err)
	}
	return s, nil
}

// find selects what a device runs of the artifact.
func (s *subject) find(dev device.Info, sel artifact.Select) error {
	build, err := s.art.Manifest.Find(dev, sel)
	if err != nil {
		return err
	}
	parts, err := s.art.ReadParts()
	if err != nil {
		return err
	}
	s.build, s.schedule = s.art.Manifest.Builds[build], parts[build][0].Schedule
	s.digest = fmt.Sprintf("%x", sha256.Sum256(s.art.Modules[s.art.Manifest.Attention(build)[0].Module]))[:12]
	return nil
}

func (s *subject) fromSource(in *input.File, c Config, target string) error {
	p, err := compile.Load(in.Name, in.Source, "", nil)
	if err != nil {
		return err
	}
	s.pattern = p.Pattern
	if err := s.setParams(c.Set); err != nil {
		return err
	}
	s.art, err = p.With(s.consts).Compile(compile.Options{Target: target, DType: c.DType, HeadDim: c.HeadDim}, nil)
	return err
}

func (s *subject) fromArtifact(a *artifact.Artifact, c Config) (err error) {
	s.art = a
	if a.IsPlan() {
		return errors.New("it holds the patterns of a head plan, which run together: minfc run --plan runs them")
	}
	if s.pattern, err = ir.ParsePattern(a.Manifest.Patterns[0].Text); err != nil {
		return fmt.Errorf("%w: pattern: %w", artifact.ErrManifest, err)
	}
	if err := s.setParams(c.Set); err != nil {
		return err
	}
	for name := range s.consts {
		return fmt.Errorf("it was compiled with %s = %d, which is const: compile again to change it", name, s.values[name])
	}
	return nil
}

// setParams takes the values that are meant for this pattern.
func (s *subject) setParams(set map[string]int64) (err error) {
	s.launch, s.consts = s.pattern.ValuesAt(ir.BindLaunch, set), s.pattern.ValuesAt(ir.BindConst, set)
	given := maps.Clone(s.launch)
	maps.Copy(given, s.consts)
	s.values, err = ir.CheckLaunch(s.pattern.Params, s.pattern.Requires, given)
	return err
}

// baselineName is the library pattern without sparsity whose softmax the pattern thins out.
func (s *subject) baselineName() string { return outlook.BaselineOf(s.schedule) }

// row is the part of a row that needs no measurement. The work of a pattern that data decides is not in it.
func (s *subject) row(c Config, n int) (Row, error) {
	r := Row{Implementation: "minfc " + s.build.Target, Pattern: s.pattern.Name, Params: s.values, SeqLen: n, Kernel: s.digest}
	if s.dynamic() {
		return r, nil
	}
	count, err := CountWork(s.schedule, s.values, ir.Shape{Sq: n, Sk: n})
	if err == nil {
		s.setWork(&r, count.Pairs, count.Tiles*int64(s.schedule.Tile.Rows)*int64(s.schedule.Tile.Keys)*int64(c.QHeads))
	}
	return r, err
}

// setWork fills in what is kept, in pairs of one head, and computed, in pairs of all heads.
func (s *subject) setWork(r *Row, pairs, area int64) {
	n := int64(r.SeqLen)
	all := n * n
	if s.baselineName() == "dense" {
		all = (all + n) / 2
	}
	r.Pairs, r.Density = pairs, float64(pairs)/float64(all)
	tiles := (area + 64*64 - 1) / (64 * 64)
	r.Tiles = &tiles
}

// load compiles the PTX for the device.
func (s *subject) load(dev device.Device) (err error) {
	s.kernels, err = runtime.Load(dev, s.art, s.build.Select())
	return err
}

// prepare prepares the call of one length.
func (s *subject) prepare(c Config, n int) (*runtime.Prepared, error) {
	return s.kernels.Prepare(c.shape(n), s.part())
}

// part is all heads with the given parameters.
func (s *subject) part() runtime.Part { return runtime.Part{Params: s.launch} }

func (s *subject) close() {
	if s.kernels != nil {
		s.kernels.Close() // nothing hangs on it: the device is closed next
	}
}
