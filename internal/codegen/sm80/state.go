package sm80

import (
	llir "github.com/llir/llvm/ir"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// loopState is the state as the loop sees it: phis that close at the latch.
type loopState struct {
	state
	phis []*llir.InstPhi
}

// phis opens the loop's state with its value before the first tile.
func (k *kernel) phis(start position, from *llir.Block) *loopState {
	s := &loopState{state: k.initial(start)}
	for _, v := range s.values() {
		p := k.Phi(*v, from)
		s.phis = append(s.phis, p)
		*v = p
	}
	return s
}

// close completes the phis with the state at the end of an iteration.
func (s *loopState) close(end state, latch *llir.Block) {
	for i, v := range end.values() {
		lower.AddIncoming(s.phis[i], *v, latch)
	}
}

// join is the state after the loop, or its start value where the loop never ran.
func (s state) join(k *kernel, ran, empty *llir.Block) state {
	out, none := s.clone(), k.initial(s.at)
	start := none.values()
	for i, v := range out.values() {
		if i < len(s.at) {
			continue // the walk is over
		}
		p := k.Phi(*v, ran)
		lower.AddIncoming(p, *start[i], empty)
		*v = p
	}
	return out
}
