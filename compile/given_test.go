package compile_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/ir"
)

// TestGivenCompiles: a pattern whose lists the caller gives has code for every target, no index stage and nothing to fall back to.
func TestGivenCompiles(t *testing.T) {
	for _, causal := range []bool{true, false} {
		art, err := compile.Given(causal).Compile(compile.Options{Target: compile.TargetAuto, DType: abi.F16, HeadDim: 80}, nil)
		require.NoError(t, err)
		parts, err := art.ReadParts()
		require.NoError(t, err)
		require.Len(t, parts, len(compile.Targets()))
		for build, p := range parts {
			part := p[0]
			require.Nil(t, part.Dense)
			require.True(t, part.Schedule.Given())
			require.Equal(t, causal, part.Schedule.Causal())
			for _, name := range []string{ir.PartChoose, ir.PartGather, ir.PartDecide, ir.PartDense} {
				require.Nil(t, part.Program.Part(name), name)
			}
			attend := art.Manifest.Kernel(&art.Manifest.Patterns[0].Lowered[build], abi.Attend)
			var names []string
			for _, q := range attend.Params {
				names = append(names, q.Name)
			}
			require.Subset(t, names, []string{"i_spans_spans", "i_spans_span_count", "i_spans_span_cap", "i_singles_keys", "i_singles_key_count", "i_singles_key_cap"})
		}
	}
}

func TestGivenIsRefused(t *testing.T) {
	opts := compile.Options{Target: "sm_80", DType: abi.BF16, HeadDim: 64, Lengths: true}
	_, err := compile.Given(true).Compile(opts, nil)
	require.ErrorIs(t, err, compile.ErrGivenLengths)
	opts.Lengths = false
	dense, err := compile.LoadLibrary("dense")
	require.NoError(t, err)
	_, err = compile.Group([]compile.Member{{Program: dense}, {Program: compile.Given(true)}}, opts, nil)
	require.ErrorContains(t, err, "shares no kernel with others: compile it by itself")
}
