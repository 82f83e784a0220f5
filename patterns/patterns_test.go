package patterns_test

import (
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/patterns"
)

// end is the position after the last query of a call that the patterns are asked about.
const end = 8193

// keeps restates each pattern's header comment for the default parameters.
var keeps = map[string]func(q, k int64) bool{
	"dense": func(q, k int64) bool { return k <= q },
	"full":  func(q, k int64) bool { return true },
	"a_shape": func(q, k int64) bool {
		return k <= q && (k < 128 || q-k < 1024)
	},
	"sliding": func(q, k int64) bool { return 0 <= q-k && q-k < 4096 },
	"dilated": func(q, k int64) bool { return 0 <= q-k && q-k < 4096 && (q-k)%4 == 0 },
	"strided": func(q, k int64) bool { return k <= q && (q-k <= 128 || (q-k)%128 == 0) },
	"tri_shape": func(q, k int64) bool {
		return k <= q && (k < 128 || q-k < 4096 || q >= end-100)
	},
	"longformer": func(q, k int64) bool {
		return max(q-k, k-q) <= 256 || k < 64 || q < 64
	},
	"prefix_lm": func(q, k int64) bool { return k <= q || k < 1024 },
	"triangle_mix": func(q, k int64) bool {
		return k <= q && (k < 8 || q-k < 512 || q >= end-128)
	},
}

func TestLibraryLoadsWithoutWarnings(t *testing.T) {
	names := patterns.Names()
	require.True(t, sort.StringsAreSorted(names))
	require.Len(t, names, len(keeps)+len(chooses))
	for _, name := range names {
		p := load(t, name)
		require.Equal(t, name, p.Name, "a file's pattern has the file's name")
	}
}

func load(t *testing.T, name string) *ir.Pattern {
	file, src, ok := patterns.Source(name)
	require.True(t, ok)
	require.True(t, strings.HasPrefix(string(src), "//"), "%s says what it is", file)
	f, ps, err := dsl.Load(file, src)
	require.NoError(t, err)
	require.Empty(t, f.Warnings)
	require.Len(t, ps, 1)
	return ps[0]
}

// Every pattern keeps what its header says, checked around all the borders of the default parameters.
func TestLibraryKeepsWhatItSays(t *testing.T) {
	positions := []int64{0, 1, 3, 4, 7, 8, 63, 64, 127, 128, 129, 255, 256, 257, 300, 511, 512, 513, 1323, 1324, 1325, 1023, 1024, 1025, 4092, 4095, 4096, 4097, 5000, 6000, 8064, 8065, 8092, 8093, 8192}
	for name := range keeps {
		p := load(t, name)
		values := map[string]int64{}
		for _, x := range p.Params {
			values[x.Name] = x.Default
		}
		for _, q := range positions {
			for _, k := range positions {
				require.Equal(t, keeps[name](q, k), member(t, p.Keep, q, k, values), "%s at q=%d k=%d", name, q, k)
			}
		}
	}
}

// member is the definition of ir.Set, pair by pair, written here a second time on purpose.
func member(t *testing.T, s ir.Set, q, k int64, values map[string]int64) bool {
	at := func(p ir.Poly) int64 {
		v, err := p.Eval(values)
		require.NoError(t, err)
		return v
	}
	in := func(x int64, from ir.Poly, to *ir.Poly, step ir.Poly) bool {
		return x >= at(from) && (to == nil || x < at(*to)) && (x-at(from))%at(step) == 0
	}
	switch x := s.(type) {
	case ir.All:
		return true
	case ir.Causal:
		return k <= q
	case ir.Window:
		return -at(x.Right) <= q-k && q-k < at(x.Left)
	case ir.Sink:
		return k < at(x.N)
	case ir.Columns:
		return in(k, x.From, x.To, x.Step)
	case ir.Diagonals:
		return in(q-k, x.From, x.To, x.Step)
	case ir.Rows:
		row := func(b ir.RowBound) int64 {
			if b.FromEnd {
				return end + at(b.Off)
			}
			return at(b.Off)
		}
		return q >= row(x.From) && (x.To == nil || q < row(*x.To))
	case ir.Union:
		for _, y := range x.Sets {
			if member(t, y, q, k, values) {
				return true
			}
		}
		return false
	case ir.Intersect:
		for _, y := range x.Sets {
			if !member(t, y, q, k, values) {
				return false
			}
		}
		return true
	case ir.Minus:
		return member(t, x.Left, q, k, values) && !member(t, x.Right, q, k, values)
	default:
		t.Fatalf("unexpected %T", s)
		return false
	}
}

func TestUnknownPattern(t *testing.T) {
	for _, name := range []string{"", "no_such", "../patterns/dense", "dense.minf", "/etc/passwd"} {
		_, _, ok := patterns.Source(name)
		require.False(t, ok, name)
	}
}
