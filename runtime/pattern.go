package runtime

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// Pattern is one pattern of a loaded artifact.
type Pattern struct {
	loaded       *Loaded
	pattern      *ir.Pattern // as compiled
	schedule     *ir.Schedule
	dense        *ir.Schedule // what computes heads instead for which it is faster; nil if there is none
	program      *ir.Program
	blockRows    [2]int // query rows that a block of attention takes at a time, sparse and dense
	choices      []choice
	given        bool                   // the caller gives the lists
	headParams   []string               // launch parameters that may differ by head: budgets and nothing else
	codes        map[string]*loadedCode // by the names that the program has; no attention where groups compute it
	denseParams  []artifact.Param       // of the dense kernel, loaded or not
	scratchBytes int64                  // maxScratchBytes, other numbers in tests
	lastParams   atomic.Pointer[paramSet]
	fallback     *fallback // nil if there is no dense kernel, or nothing to weigh it with
}

// newPattern reads what a manifest says of a pattern. Its kernels are not loaded yet.
func newPattern(l *Loaded, m *artifact.Manifest, build, number int, part artifact.Part) (*Pattern, error) {
	p := &Pattern{loaded: l, pattern: part.Pattern, schedule: part.Schedule, program: part.Program, codes: map[string]*loadedCode{},
		choices: choicesOf(part.Schedule), given: part.Schedule.Given(), headParams: part.Schedule.Budgets(), scratchBytes: maxScratchBytes}
	p.blockRows = [2]int{m.BlockRows(build, number, false), m.BlockRows(build, number, true)}
	dense := m.Kernel(&m.Patterns[number].Lowered[build], abi.Dense)
	if dense != nil {
		p.denseParams = dense.Params
	}
	if part.Dense != nil && (dense == nil || dense.RunsOn(l.dev.Info()) == nil) {
		if err := p.readFallback(part.Dense); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// wants says whether a kernel of the program is loaded: those of other sizes may have no room on the device.
func (p *Pattern) wants(name string, c *artifact.Code) bool {
	switch name {
	case abi.Attend:
		return true
	case abi.Dense:
		return p.fallback != nil
	default:
		return c.SharedBytes <= p.loaded.dev.Info().MaxSharedBytes
	}
}

// checkComplete says whether the kernels of the program have room on the device. Of a kernel that comes in several sizes one must have it.
func (p *Pattern) checkComplete() error {
	missing := p.program.Missing(p.parameters)
	if missing == "" {
		return nil
	}
	info := p.loaded.dev.Info()
	return fmt.Errorf("%w: %w: the kernel %s needs more shared memory a block than the %d bytes of %s",
		artifact.ErrTarget, device.ErrUnsupported, missing, info.MaxSharedBytes, info.Name)
}

// parameters finds the parameters of a kernel that is loaded, and of the dense one in any case: where it cannot run, no head is dense.
func (p *Pattern) parameters(name string) ([]artifact.Param, bool) {
	if name == abi.Dense && p.denseParams != nil {
		return p.denseParams, true
	}
	if c := p.codes[name]; c != nil {
		return c.Params, true
	}
	return nil, false
}

// ownAttention says that a kernel of the pattern's own computes the attention, not groups.
func (p *Pattern) ownAttention() bool { return p.codes[abi.Attend] != nil }

// prepares says whether an index stage computes something that attention reads: lists, or means.
func (p *Pattern) prepares() bool {
	_, means := p.schedule.Means()
	return len(p.choices) > 0 || means
}

// queues says whether the kernel that computes all heads of a part, sparse or dense, takes row tiles from a queue.
func (p *Pattern) queues(sparse bool) bool {
	name := abi.Dense
	if sparse {
		name = abi.Attend
	}
	c := p.codes[name]
	return c != nil && slices.ContainsFunc(c.Params, func(x artifact.Param) bool { return x.Name == abi.QueueParams[0].Name })
}

// Name is the pattern's name.
func (p *Pattern) Name() string { return p.schedule.Name }

// Source is what the artifact was compiled from, with the values of its const parameters. It must not be changed.
func (p *Pattern) Source() *ir.Pattern { return p.pattern }

// Schedule is what the kernels were compiled from. It must not be changed.
func (p *Pattern) Schedule() *ir.Schedule { return p.schedule }

// DenseSchedule is what heads run that fall back to dense attention; nil if none can.
func (p *Pattern) DenseSchedule() *ir.Schedule { return p.dense }

// BlockRows is how many query rows a block of the attention takes at a time.
func (p *Pattern) BlockRows() int { return p.blockRows[0] }

// HeadParams lists the parameters that Part.HeadParams may set: budgets of the index stage and nothing else.
func (p *Pattern) HeadParams() []string { return slices.Clone(p.headParams) }

// paramSet is a set of launch parameters that was found good.
type paramSet struct{ given, values map[string]int64 }

// checkParams returns the values of all parameters. Servers launch with the same ones again and again, so the last good
// set is remembered.
func (p *Pattern) checkParams(given map[string]int64) (map[string]int64, error) {
	if last := p.lastParams.Load(); last != nil && maps.Equal(last.given, given) {
		return last.values, nil
	}
	values, err := ir.CheckLaunch(p.schedule.Params, p.schedule.Requires, given)
	if err == nil {
		err = p.schedule.CheckValues(values)
	}
	if err == nil {
		err = p.pattern.CheckValues(values)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", device.ErrBadCall, err)
	}
	p.lastParams.Store(&paramSet{maps.Clone(given), values})
	return values, nil
}
