package sm80

import (
	"slices"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// state is what the loop carries.
type state struct {
	at position
	rowState
}

// Values lists m and l row by row.
func (s *state) Values() []*Value {
	out := s.at.Values()
	for i := range s.m {
		out = append(out, &s.m[i], &s.l[i])
	}
	return append(out, lower.Pointers(s.o...)...)
}

func (s state) Clone() state { return state{s.at, s.rowState.Clone()} }

// rowState is what the thread's rows have come to. m and l have one value a row (two a strip), o one list a strip.
type rowState struct {
	m, l []Value
	o    lower.Vectors
}

func (s *rowState) Values() []*Value { return append(lower.Pointers(s.m, s.l), s.o.Values()...) }

func (s rowState) Clone() rowState {
	return rowState{slices.Clone(s.m), slices.Clone(s.l), s.o.Clone()}
}

// rowsPerThread is two a strip: lane l of a warp holds rows l/4 and l/4+8 of each 16-row strip.
func (k *kernel) rowsPerThread() int { return 2 * k.strips }

// initial is what rows begin with.
func (k *kernel) initial() (s rowState) {
	for i := range k.rowsPerThread() {
		m, l := k.InitialRow(i, k.exact)
		s.m, s.l = append(s.m, m), append(s.l, l)
	}
	for range k.strips {
		s.o = append(s.o, slices.Repeat([]Value{lower.F32(0)}, k.headDim/2))
	}
	return s
}
