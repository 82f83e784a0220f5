package emu

import "fmt"

// A wait tells phases apart by one bit. A kernel that uses an mbarrier phase after phase is right only if nobody can be a phase early or
// late, whatever order its warps run in. Two rules make sure of that, and both can be checked in any order (docs/sm90.md, "Barriers"):
//
//   - Who arrives knows that the phase before has ended. Else, in another order, it arrives in the phase before.
//   - A phase ends when all who waited for the one before have passed. Else, in another order, one of them comes late, finds the parity
//     of two phases ago and waits for ever.
//
// To know something is to have waited for it, or for something that follows from it (vclock).

// turns is who had to do with the last two phases of an mbarrier: for each warp its clock then, 0 if it had not.
type turns struct {
	came   [maxWarps]uint32 // arrived in this phase
	before [maxWarps]uint32 // arrived in the phase before
	passed [maxWarps]uint32 // passed a wait for the phase before

	copies, copiesBefore bool // this phase, the one before, also wanted copies to land: then a wait alone tells that it has ended
}

// next starts a phase.
func (t *turns) next() {
	*t = turns{before: t.came, copiesBefore: t.copies}
}

// mayBeEarly says what is wrong if somebody who has seen what seen says might be in the phase before this one.
func (bar *mbarrier) mayBeEarly(does string, seen *vclock) error {
	if bar.round == bar.first || seen[bar.agent&(agents-1)] >= bar.round {
		return nil
	}
	knows := !bar.turns.copiesBefore
	for w, at := range bar.turns.before {
		knows = knows && seen[w] >= at
	}
	if knows {
		return nil
	}
	n := bar.round - bar.first
	return fmt.Errorf("%s phase %d of %s, and has not waited for the end of phase %d, nor for anything that follows it: in another order of the warps it would be in that phase", does, n, bar.name(), n-1)
}

// endsTooSoon says what is wrong if this phase, of which all has come, ends before somebody has seen the end of the one before, or if
// nobody ever did: then that phase cannot have kept anybody from anything; compute-sanitizer's synccheck reports it as well.
func (bar *mbarrier) endsTooSoon() error {
	n := bar.round - bar.first
	if n > 0 && bar.turns.passed == [maxWarps]uint32{} {
		return fmt.Errorf("ends phase %d of %s, and nobody has waited for the phase before", n, bar.name())
	}
	for w, at := range bar.turns.passed {
		if bar.arrived[w] < at {
			return fmt.Errorf("ends phase %d of %s, and warp %d, which waits for phase %d, need not have passed: in another order of the warps it would find neither and wait for ever", n, bar.name(), w, n-1)
		}
	}
	return nil
}
