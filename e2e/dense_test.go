package e2e

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/artifact/artifacttest"
)

// A dense kernel serves the same calls as the one beside it, or the artifact is refused.
func TestArtifactsWithBadDenseKernels(t *testing.T) {
	c := attentionCase{program: library(t, "vertical_slash"), headDim: 64, dtype: abi.BF16}
	data, err := c.compile(t).Encode()
	require.NoError(t, err)
	remove := func(c *artifact.Code, names ...string) {
		c.Params = slices.DeleteFunc(c.Params, func(p artifact.Param) bool { return slices.Contains(names, p.Name) })
	}
	for name, x := range map[string]struct {
		want   string
		damage func(a *artifact.Artifact, l *artifact.Lowered, attend, dense *artifact.Code)
	}{
		"for no GPU": {`target is "sm_99x", want a GPU generation`, func(a *artifact.Artifact, l *artifact.Lowered, attend, dense *artifact.Code) {
			dense.Target = "sm_99x"
		}},
		"no module": {"module is 99", func(a *artifact.Artifact, l *artifact.Lowered, attend, dense *artifact.Code) { dense.Module = 99 }},
		"no kernel": {"there is no kernel dense for its dense_schedule", func(a *artifact.Artifact, l *artifact.Lowered, attend, dense *artifact.Code) {
			l.Kernels = slices.DeleteFunc(l.Kernels, func(u artifact.Use) bool { return u.Name == abi.Dense })
		}},
		"not run": {"program vertical_slash has no part dense", func(a *artifact.Artifact, l *artifact.Lowered, attend, dense *artifact.Code) {
			p, err := ir.ParseProgram(a.Manifest.Programs[l.Program])
			require.NoError(t, err)
			p.Parts = slices.DeleteFunc(p.Parts, func(p ir.Part) bool { return p.Name == ir.PartDense })
			l.Program = a.AddProgram(p.String())
		}},
		"reads no words of heads": {"dense kernel: kernel parameters are missing: taken", func(a *artifact.Artifact, l *artifact.Lowered, attend, dense *artifact.Code) {
			remove(dense, "taken")
		}},
		"reads lists": {"dense_schedule is there, want it without lists", func(a *artifact.Artifact, l *artifact.Lowered, attend, dense *artifact.Code) {
			l.Dense, dense.Params = l.Schedule, attend.Params
		}},
		"beside a kernel that reads no words of heads": {"kernel parameters are missing: route, taken", func(a *artifact.Artifact, l *artifact.Lowered, attend, dense *artifact.Code) {
			remove(attend, "route", "taken")
		}},
		"beside no kernel that writes words of heads": {"there is no kernel store_words", func(a *artifact.Artifact, l *artifact.Lowered, attend, dense *artifact.Code) {
			l.Kernels = slices.DeleteFunc(l.Kernels, func(u artifact.Use) bool { return u.Name == abi.StoreWords })
		}},
		"beside a kernel without lists": {"beside a schedule with lists", func(a *artifact.Artifact, l *artifact.Lowered, attend, dense *artifact.Code) {
			l.Schedule, attend.Params = l.Dense, dense.Params
		}},
	} {
		a, err := artifact.Read(data)
		require.NoError(t, err)
		x.damage(a, &a.Manifest.Patterns[0].Lowered[0], artifacttest.Attend(a), artifacttest.Kernel(a, abi.Dense))
		err = a.Verify()
		require.ErrorIs(t, err, artifact.ErrManifest, name)
		require.ErrorContains(t, err, x.want, name)
	}
}
