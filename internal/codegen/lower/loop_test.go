package lower_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/llir/llvm/ir/enum"
	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// fibonacci is a state of two kinds of fields, one of which some kernels leave out.
type fibonacci struct {
	pair  [2]lower.Value
	sums  lower.Vectors // of the first numbers, and of every second one
	spare lower.Value
}

func (f *fibonacci) Values() []*lower.Value {
	return slices.Concat([]*lower.Value{&f.pair[0], &f.pair[1]}, f.sums.Values(), lower.Some(&f.spare))
}

func (f fibonacci) Clone() fibonacci {
	f.sums = f.sums.Clone()
	return f
}

type fibonacciWalk = lower.Walk[fibonacci, *fibonacci]

func startOfFibonacci() fibonacci {
	zero, one := lower.I32(0), lower.I32(1)
	return fibonacci{pair: [2]lower.Value{zero, one}, sums: lower.Vectors{{zero}, {zero}}}
}

// step adds the number at n to the sums, in the slices of the state itself.
func (f fibonacci) step(b *lower.Builder, n lower.Value) fibonacci {
	f.sums[0][0] = b.Add(f.sums[0][0], f.pair[0])
	odd := b.ICmp(enum.IPredNE, b.And(n, lower.I32(1)), lower.I32(0))
	f.sums[1][0] = b.Select(odd, f.sums[1][0], b.Add(f.sums[1][0], f.pair[0]))
	f.pair = [2]lower.Value{f.pair[1], b.Add(f.pair[0], f.pair[1])}
	return f
}

// numbers runs body for the words 0 to 31.
func numbers(t *testing.T, body func(b *lower.Builder, x lower.Value) lower.Value) (out []int) {
	var in []byte
	for i := range uint32(32) {
		in = binary.LittleEndian.AppendUint32(in, i)
	}
	got := launch(t, 32, in, body)
	for i := range 32 {
		out = append(out, int(int32(binary.LittleEndian.Uint32(got[4*i:]))))
	}
	return out
}

// fibonacciSums are of the first n numbers: their sum, and the sum of every second one.
func fibonacciSums(n int) (all, every int) {
	a, b := 0, 1
	for i := range n {
		all += a
		if i%2 == 0 {
			every += a
		}
		a, b = b, a+b
	}
	return all, every
}

// TestLoopsCarryStates: values come out of a loop under the names under which they went in, also when its body writes into the slices of its
// state; and a state that two loops begin with is the same for both.
func TestLoopsCarryStates(t *testing.T) {
	start := startOfFibonacci()
	more := func(b *lower.Builder, n, x lower.Value) lower.Value { return b.ICmp(enum.IPredSLT, n, x) }
	while := func(b *lower.Builder, x lower.Value) fibonacci {
		return lower.While(b, "while", lower.Walking(lower.I32(0), start),
			func(w fibonacciWalk) lower.Value { return more(b, w.At, x) },
			func(w fibonacciWalk) fibonacciWalk {
				own := w.Of.Clone()
				return lower.Walking(b.Add(w.At, lower.I32(1)), own.step(b, w.At))
			}).Of
	}
	repeat := func(b *lower.Builder, x lower.Value) fibonacci {
		return lower.Repeat(b, "repeat", lower.Walking(lower.I32(0), start), func(w fibonacciWalk) (fibonacciWalk, lower.Value) {
			next := lower.Walking(b.Add(w.At, lower.I32(1)), w.Of.Clone().step(b, w.At))
			return next, more(b, next.At, x)
		}).Of
	}
	all := numbers(t, func(b *lower.Builder, x lower.Value) lower.Value { return while(b, x).sums[0][0] })
	every := numbers(t, func(b *lower.Builder, x lower.Value) lower.Value {
		while(b, x) // leaves start as it was
		return repeat(b, x).sums[1][0]
	})
	for n := range 32 {
		sum, _ := fibonacciSums(n)
		require.Equal(t, sum, all[n], n)
		_, sum = fibonacciSums(max(n, 1)) // the body of Repeat runs at least once
		require.Equal(t, sum, every[n], n)
	}
}

// sharing is a state whose slices copies of it share.
type sharing struct{ values []lower.Value }

func (s *sharing) Values() []*lower.Value { return lower.Pointers(s.values) }

func TestStatesWithSlicesWantClone(t *testing.T) {
	require.PanicsWithValue(t, "internal: a state of type lower_test.sharing has slices and no Clone", func() {
		lower.Map(sharing{[]lower.Value{lower.I32(1)}}, func(v lower.Value) lower.Value { return v })
	})
}

// TestBranchesDecideStates: If gives what then leaves where the condition holds, and else the state it was given.
func TestBranchesDecideStates(t *testing.T) {
	got := numbers(t, func(b *lower.Builder, x lower.Value) lower.Value {
		was := fibonacci{pair: [2]lower.Value{x, lower.I32(5)}, sums: lower.Vectors{{lower.I32(7)}}}
		is := lower.Choose(b, "even", b.ICmp(enum.IPredEQ, b.And(x, lower.I32(1)), lower.I32(0)), was, func() fibonacci {
			is := was.Clone()
			is.pair[1], is.sums[0][0] = b.Add(x, x), b.Mul(x, x)
			return is
		})
		return b.Add(b.Add(is.pair[0], b.Mul(is.pair[1], lower.I32(1000))), b.Mul(is.sums[0][0], lower.I32(1000000)))
	})
	for x := range 32 {
		want := x + 1000*5 + 1000000*7
		if x%2 == 0 {
			want = x + 1000*(2*x) + 1000000*x*x
		}
		require.Equal(t, want, got[x], x)
	}
}

// TestOpenLoop: a loop with exits of its own, of which Join makes one state.
func TestOpenLoop(t *testing.T) {
	got := numbers(t, func(b *lower.Builder, x lower.Value) lower.Value {
		before, body, last, never, end := b.Block, b.NewBlock("body"), b.NewBlock("last"), b.NewBlock("never"), b.NewBlock("end")
		b.CondBr(b.ICmp(enum.IPredEQ, x, lower.I32(0)), never, body)
		b.Enter(body)
		l := lower.Open(b, lower.Fold{At: x, Made: lower.I32(1)}, before)
		next := lower.Fold{At: b.Sub(l.State.At, lower.I32(1)), Made: b.Add(l.State.Made, l.State.At)}
		b.CondBr(b.ICmp(enum.IPredNE, next.At, lower.I32(0)), body, last)
		l.Close(next, body)
		b.Enter(last)
		b.Br(end)
		b.Enter(never)
		b.Br(end)
		b.Enter(end)
		return lower.Join(b, next, last, lower.Fold{At: x, Made: lower.I32(-1)}, never).Made
	})
	for x := range 32 {
		want := 1 + x*(x+1)/2
		if x == 0 {
			want = -1
		}
		require.Equal(t, want, got[x], x)
	}
}
