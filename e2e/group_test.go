package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/runtime/artifact"
)

func member(t *testing.T, src string, copies int) compile.Member {
	p, err := compile.Load("test.minf", []byte(src), "", nil)
	require.NoError(t, err)
	return compile.Member{Program: p, Copies: copies}
}

// groupsOf are the kernels of an artifact that compute several patterns in one launch.
func groupsOf(a *artifact.Artifact) (out []artifact.Code) {
	for _, n := range a.Manifest.Builds[0].Groups {
		out = append(out, a.Manifest.Codes[n])
	}
	return out
}

const withColumns = `pattern %s(n = 4, window = 9) {
  index probe = softmax(q[-64:] * k)
  index cols = top(n, sum(probe, queries))
  index diags = top(n, sum(probe, diagonals))
  keep causal & (columns(cols) | diagonals(diags) | window(window))
}`

// TestCompileGroup: what one launch has no room for is shared out among several, and every section is there once.
func TestCompileGroup(t *testing.T) {
	for _, c := range []struct{ members, copies, groups int }{{1, 1, 1}, {3, 2, 1}, {12, 1, 2}, {7, 1, 1}, {2, 12, 4}}[:campaign.Few(2, 5)] {
		var members []compile.Member
		for i := range c.members {
			members = append(members, member(t, fmt.Sprintf(withColumns, fmt.Sprint("p", i)), c.copies))
		}
		a, err := compile.Group(members, compile.Options{Target: "sm_90a", DType: "f16", HeadDim: 32}, nil)
		require.NoError(t, err)
		require.Len(t, a.Manifest.Patterns, c.members)
		require.Equal(t, c.groups, len(groupsOf(a)), "%+v", c)
		sections := map[artifact.Section]int{}
		for _, g := range groupsOf(a) {
			for _, s := range g.Sections {
				sections[artifact.Section{Pattern: s.Pattern, Dense: s.Dense}]++
			}
		}
		require.Len(t, sections, 2*c.members)
		for s, n := range sections {
			require.Equal(t, c.copies, n, "%+v", s)
		}
	}
}

// TestCompileGroupInParts: parts of a group that read no lists are cut as it is.
func TestCompileGroupInParts(t *testing.T) {
	members := []compile.Member{member(t, fmt.Sprintf(withColumns, "p"), 1), member(t, "pattern near(n = 3) { keep causal & window(n) }", 120)}
	a, err := compile.Group(members, compile.Options{Target: "sm_80", DType: "f16", HeadDim: 128}, nil)
	require.NoError(t, err)
	sections := map[int]int{} // by the rows of their tiles
	for _, g := range groupsOf(a) {
		for _, s := range g.Sections {
			sections[s.TileRows]++
		}
	}
	require.Equal(t, map[int]int{64: 2 + 120, 128: 1 + 120}, sections, "beside lists, and without")
}

// TestBlocksBesideLists: where blocks of ranges are others beside lists, there is a group without lists, too.
func TestBlocksBesideLists(t *testing.T) {
	members := []compile.Member{member(t, fmt.Sprintf(withColumns, "p"), 1)}
	for target, groups := range map[string]map[int]int{"sm_80": {64: 2, 112: 2, 128: 2, 256: 1}, "sm_90a": {64: 1, 112: 1, 256: 1}} {
		for headDim, want := range groups {
			a, err := compile.Group(members, compile.Options{Target: target, DType: "f16", HeadDim: headDim}, nil)
			require.NoError(t, err)
			require.Len(t, groupsOf(a), want, "%s, head dim %d", target, headDim)
		}
	}
}

func TestCompileGroupRefuses(t *testing.T) {
	_, err := compile.Group(nil, compile.Options{Target: "sm_80", DType: "f16", HeadDim: 32}, nil)
	require.EqualError(t, err, "there are no patterns to compile")
	m := member(t, "pattern p { keep causal }", 1)
	for want, opts := range map[string]compile.Options{
		"head dim 40 is not supported":     {Target: "sm_80", DType: "f16", HeadDim: 40},
		`target "sm_70" is not supported`:  {Target: "sm_70", DType: "f16", HeadDim: 32},
		`data type "fp8" is not supported`: {Target: "sm_90a", DType: "fp8", HeadDim: 32},
	} {
		_, err := compile.Group([]compile.Member{m}, opts, nil)
		require.ErrorContains(t, err, want)
	}
	m.Program = m.With(map[string]int64{"step": 1})
	_, err = compile.Group([]compile.Member{m}, compile.Options{Target: "sm_80", DType: "f16", HeadDim: 32}, nil)
	require.ErrorContains(t, err, "step")
}

// TestSectionsShareCode: heads of one static pattern with other parameters, and heads of several patterns that fall back to causal
// attention, have one code.
func TestSectionsShareCode(t *testing.T) {
	window := member(t, "pattern near(n = 3) { keep causal & window(n) }", 5)
	lists := func(name string) compile.Member {
		return member(t, fmt.Sprintf(`pattern %s(n = 4) { index d = top(n, sum(softmax(q[-64:] * k), diagonals)) keep causal & diagonals(d) }`, name), 1)
	}
	for _, target := range compile.Targets() {
		var group string
		module := func(llvm string) {
			if strings.Contains(llvm, "@attention_group") && group == "" {
				group = llvm
			}
		}
		a, err := compile.Group([]compile.Member{window, lists("a"), lists("b")}, compile.Options{Target: target, DType: "bf16", HeadDim: 64}, &compile.Observer{Module: module})
		require.NoError(t, err)
		require.Len(t, groupsOf(a)[0].Sections, 5+2+2)
		require.Len(t, regexp.MustCompile(`(?m)^body(\.[0-9]+)?:$`).FindAllString(group, -1), 4, "windows, two of lists, causal")
	}
}
