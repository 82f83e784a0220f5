package compile

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/artifact/artifacttest"
	"github.com/minfc/minfc/runtime/device"
)

func TestTargetOn(t *testing.T) {
	for _, c := range []struct {
		major, minor int
		driver       string
		want, passed string
	}{
		{8, 0, "13.0", "sm_80", ""}, {8, 9, "13.0", "sm_80", ""}, {9, 0, "13.0", "sm_90a", ""}, {10, 0, "13.0", "sm_80", ""}, {12, 0, "13.0", "sm_80", ""},
		{9, 0, "12.0", "sm_90a", ""}, {9, 0, "11.8", "sm_80", "CUDA 12.0"}, {8, 0, "11.4", "sm_80", ""}, {9, 0, "", "sm_90a", ""},
	} {
		dev := device.Info{Name: "a GPU", Major: c.major, Minor: c.minor, DriverVersion: c.driver}
		got, passed, err := TargetOn(dev)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%+v", c)
		require.NoError(t, Runs(dev, got))
		if c.passed == "" {
			require.NoError(t, passed)
			continue
		}
		require.ErrorContains(t, passed, c.passed)
	}
	_, _, err := TargetOn(device.Info{Name: "T4", Major: 7, Minor: 5})
	require.ErrorContains(t, err, "T4 is sm_75, and no kernel of minfc runs below compute capability 8.0")
	_, passed, err := TargetOn(device.Info{Name: "A100", Major: 8, DriverVersion: "11.2"})
	require.ErrorContains(t, err, "sm_80 code (PTX 7.4) needs one for CUDA 11.4 or later")
	require.NoError(t, passed)
}

// What package runtime says of drivers is of the PTX that is made, stages included.
func TestPTXVersionsOfAnArtifact(t *testing.T) {
	file, src := library(t, "vertical_slash")
	a, err := Source(file, src, "", Options{Target: TargetAuto, DType: "bf16", HeadDim: 64}, nil)
	require.NoError(t, err)
	require.Equal(t, "7.4", ptxgen.Version("sm_80"), "the README and runtime.leastPTX say so")
	require.Equal(t, "8.0", ptxgen.Version("sm_90a"), "the README says so")
	for _, k := range a.Manifest.Codes {
		require.Equal(t, ptxgen.Version(k.Target), k.PTXVersion)
		require.Equal(t, k.PTXVersion, ptxVersion(a.Modules[k.Module]))
	}
	for i, b := range a.Manifest.Builds {
		require.Equal(t, b.Target, attention(t, a, i).Target)
		for _, u := range stages(a, i) {
			require.Equal(t, "sm_80", a.Manifest.Codes[u.Code].Target, u.Name)
		}
	}
}

// attention is the kernel of the attention of a build.
func attention(t *testing.T, a *artifact.Artifact, build int) *artifact.Code {
	kernels := a.Manifest.Attention(build)
	require.Len(t, kernels, 1)
	return kernels[0]
}

// stages are the kernels of a build beside attention, sparse and dense.
func stages(a *artifact.Artifact, build int) []artifact.Use {
	return slices.DeleteFunc(slices.Clone(a.Manifest.Patterns[0].Lowered[build].Kernels), func(u artifact.Use) bool {
		return u.Name == abi.Attend || u.Name == abi.Dense
	})
}

// auto compiles for every target, into one artifact that a device of each can load from.
func TestAutoHasAllTargets(t *testing.T) {
	for _, pattern := range []string{"a_shape", "vertical_slash", "block_sparse"} {
		file, src := library(t, pattern)
		a, err := Source(file, src, "", Options{Target: TargetAuto, DType: "bf16", HeadDim: 64}, nil)
		require.NoError(t, err)
		var targets []string
		for i, b := range a.Manifest.Builds {
			targets = append(targets, b.Target)
			require.Contains(t, string(a.Modules[attention(t, a, i).Module]), ".target "+b.Target+"\n")
		}
		require.Equal(t, Targets(), targets)
		one, err := Source(file, src, "", Options{Target: targets[0], DType: "bf16", HeadDim: 64}, nil)
		require.NoError(t, err)
		own := 1 // modules of a target alone
		if artifacttest.Kernel(one, abi.Dense) != nil {
			own = 2
		}
		require.Len(t, a.Modules, len(one.Modules)+own*(len(targets)-1), "stages are there once")
		require.Equal(t, one.Modules[0], a.Modules[0], "a kernel does not depend on its neighbours")
	}
}

// Two targets in one artifact: each device finds its kernel, and all kernels share the stages. The second target is the code of
// the first under another name, so that this does not depend on which targets there are.
func TestArtifactOfTwoTargets(t *testing.T) {
	file, src := library(t, "vertical_slash")
	emitted := map[string]string{}
	o := compiler{Options{Target: "sm_80", DType: "bf16", HeadDim: 64}, &Observer{Emit: func(form, text string) { emitted[form] = text }}}
	p, err := Load(file, src, "", o.watch)
	require.NoError(t, err)
	old, err := o.unit(p, nil)
	require.NoError(t, err)
	renamed := unit{target: "sm_90a", schedule: old.schedule}
	renamed.kernel, err = o.ptx(old.kernel.Kernel, "sm_90a")
	require.NoError(t, err)
	units := []unit{old, renamed}
	dense, err := o.dense(p, []unit{old}, nil)
	require.NoError(t, err)
	dense = append(dense, dense[0])
	dense[1].target = "sm_90a"
	require.NoError(t, o.addPrograms(units, dense))
	kernels, err := o.generateIndex(units[0].program)
	require.NoError(t, err)
	o.watch.emitUnits(units, kernels, dense)
	require.Contains(t, emitted["schedule"], "// for sm_80\n\nschedule vertical_slash")
	require.Contains(t, emitted["schedule"], "// for sm_90a\n\nschedule vertical_slash")
	require.Contains(t, emitted["program"], "// for sm_90a\n\nprogram vertical_slash")
	require.Contains(t, emitted["ptx"], "// module 1: attention for sm_90a\n\n")
	require.Contains(t, emitted["ptx"], fmt.Sprintf("// module %d: decide\n\n", 1+len(kernels)))
	require.Contains(t, emitted["ptx"], fmt.Sprintf("// module %d: dense attention for sm_90a\n\n", 3+len(kernels)))

	packed, err := o.pack(p.Pattern, p.Source, units, kernels, dense)
	require.NoError(t, err)
	data, err := packed.Encode()
	require.NoError(t, err)
	a, err := artifact.Read(data)
	require.NoError(t, err)
	require.Len(t, a.Modules, 4+len(kernels))
	for i, b := range a.Manifest.Builds {
		k := a.Manifest.Kernel(&a.Manifest.Patterns[0].Lowered[i], abi.Dense)
		require.Equal(t, 2+len(kernels)+i, k.Module)
		require.Equal(t, b.Target, k.Target)
	}
	require.Equal(t, stages(a, 0), stages(a, 1))
	for i, u := range stages(a, 1) {
		s := a.Manifest.Codes[u.Code]
		require.Equal(t, 2+i, s.Module)
		require.Contains(t, string(a.Modules[s.Module]), ".entry "+s.Entry)
		require.Contains(t, string(a.Modules[s.Module]), ".target sm_80\n")
	}
	requireFound(t, a)
}

// requireFound looks up the kernels of two targets for devices of several generations.
func requireFound(t *testing.T, a *artifact.Artifact) {
	for name, want := range map[string]struct {
		dev    device.Info
		sel    artifact.Select
		target string
	}{
		"Ampere":             {device.Info{Major: 8}, artifact.Select{}, "sm_80"},
		"Hopper":             {device.Info{Major: 9}, artifact.Select{}, "sm_90a"},
		"Hopper, asked":      {device.Info{Major: 9}, artifact.Select{Target: "sm_80"}, "sm_80"},
		"Blackwell":          {device.Info{Major: 10}, artifact.Select{}, "sm_80"},
		"Ampere, not for it": {device.Info{Major: 8, Name: "A100"}, artifact.Select{Target: "sm_90a"}, ""},
	} {
		want.dev.MaxSharedBytes = 227 << 10
		build, err := a.Manifest.Find(want.dev, want.sel)
		if want.target == "" {
			require.ErrorIs(t, err, artifact.ErrTarget, name)
			require.ErrorContains(t, err, "the kernel is for sm_90a, A100 is sm_80; compile the pattern for a target that it runs, or for auto")
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, want.target, a.Manifest.Builds[build].Target, name)
		require.Contains(t, string(a.Modules[attention(t, a, build).Module]), ".target "+want.target+"\n")
	}
}
