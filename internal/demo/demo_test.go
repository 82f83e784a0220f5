package demo

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/patterns"
)

func library(t *testing.T, name string) *ir.Pattern {
	t.Helper()
	file, src, ok := patterns.Source(name)
	require.True(t, ok, name)
	_, list, err := dsl.Load(file, src)
	require.NoError(t, err)
	return list[0]
}

// shares are the parameters that rules of a pattern take for shares.
func shares(p *ir.Pattern) (out []string) {
	for _, d := range p.Index {
		if s, chooses := d.Value.(ir.Select); chooses && s.Rule != ir.Top {
			out = append(out, s.N.Vars()...)
		}
	}
	return out
}

// TestParametersMeanSomething: what a run without tensors keeps of a pattern of the library must not be nearly all, or the first picture
// that somebody sees shows no pattern. Budgets of what the data chooses are bounded instead: they are numbers of members, but for shares.
func TestParametersMeanSomething(t *testing.T) {
	for _, name := range patterns.Names() {
		p := library(t, name)
		values, err := ir.CheckLaunch(p.Params, p.Requires, Params(p, nil))
		require.NoError(t, err, name)
		if len(p.Index) > 0 {
			for param, v := range values {
				if slices.Contains(shares(p), param) {
					continue
				}
				require.LessOrEqual(t, v, int64(Shape.SeqK/8), "%s of %s", param, name)
			}
			continue
		}
		keep, err := p.EndingAt(Shape.End()).Keeps(values)
		require.NoError(t, err)
		kept, row := 0, Shape.SeqQ*7/8 // a late row, but none of the last ones
		for k := range Shape.SeqK {
			if keep(row, k) {
				kept++
			}
		}
		switch name {
		case "dense", "prefix_lm": // of which a late row keeps what is before it
			require.Equal(t, row+1, kept)
		case "full":
			require.Equal(t, Shape.SeqK, kept)
		default:
			require.Less(t, kept, Shape.SeqK/3, "%s keeps nearly all", name)
		}
	}
	for name := range settings {
		require.Contains(t, patterns.Names(), name)
	}
}

func TestGivenParametersStay(t *testing.T) {
	p := library(t, "vertical_slash")
	require.Equal(t, map[string]int64{"vertical": 32, "slash": 7}, Params(p, map[string]int64{"slash": 7}))
	own := &ir.Pattern{Name: "vertical_slash", Params: []ir.Param{{Name: "slash", Binding: ir.BindConst}}}
	require.Empty(t, Params(own, nil), "const parameters stand in the code")
}

func TestInputsDiffer(t *testing.T) {
	small := qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 64, SeqK: 64, HeadDim: 64}
	a, err := Input("vertical_slash", small, abi.BF16)
	require.NoError(t, err)
	b, err := Input("mine", small, abi.BF16)
	require.NoError(t, err)
	require.NotEqual(t, a.K, b.K)
}

func TestTry(t *testing.T) {
	require.Equal(t, []string{"minfc run vertical_slash", "minfc bench --predict sliding --seqlen 32k,128k,1m", "minfc list"}, Try("minfc", library(t, "sliding")))
	require.Equal(t, "minfc run block_sparse", Try("minfc", library(t, "vertical_slash"))[0])
	require.Equal(t, "minfc run a_shape", Try("minfc", library(t, "block_sparse"))[0])
	require.Equal(t, "go run ./cmd/minfc", Program("/tmp/go-build123/b001/exe/minfc"))
	require.Equal(t, "minfc", Program("/usr/local/bin/minfc"))
}
