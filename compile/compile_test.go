package compile

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/artifact/artifacttest"
)

func library(t testing.TB, name string) (string, []byte) {
	t.Helper()
	file, src, ok := patterns.Source(name)
	require.True(t, ok, "no library pattern %s", name)
	return file, src
}

// TestLibraryCompiles: every shipped pattern, data type and a small, a common and the largest head dim give an artifact
// that reads back, with every pass verified, and the same bytes whether or not somebody watches.
func TestLibraryCompiles(t *testing.T) {
	options := []Options{{DType: "bf16", HeadDim: 16}, {DType: "f16", HeadDim: 64}, {DType: "bf16", HeadDim: 256}}
	for i, name := range patterns.Names() {
		for _, o := range options[campaign.Few(i%3, 0):campaign.Few(i%3+1, 3)] { // with -short they take turns
			o.Target = TargetAuto
			file, src := library(t, name)
			quiet := encode(t, file, src, o, nil)

			watch := &Observer{Verify: true, Emit: func(string, string) {}, Module: func(string) {}, Warn: func(string) {},
				PrintAfter: func(string, string, string) {}, Timing: func(string, time.Duration) {}}
			require.Equal(t, quiet, encode(t, file, src, o, watch), "%s: watching must not change the artifact", name)

			a, err := artifact.Read(quiet)
			require.NoError(t, err)
			require.Len(t, a.Manifest.Builds, len(Targets()))
			require.Len(t, a.Manifest.Patterns, 1)
			require.Contains(t, a.Manifest.Patterns[0].Source, "pattern "+name)
			for _, k := range a.Manifest.Codes {
				require.Contains(t, string(a.Modules[k.Module]), ".entry "+k.Entry)
			}
			_, err = ir.ParsePattern(a.Manifest.Patterns[0].Text)
			require.NoError(t, err)
		}
	}
}

func encode(t *testing.T, file string, src []byte, o Options, watch *Observer) []byte {
	t.Helper()
	a, err := Source(file, src, "", o, watch)
	require.NoError(t, err)
	data, err := a.Encode()
	require.NoError(t, err)
	return data
}

func TestFormsComeInOrder(t *testing.T) {
	var got []string
	file, src := library(t, "a_shape")
	_, err := Source(file, src, "", Options{Target: "sm_80", DType: "bf16", HeadDim: 64}, &Observer{Emit: func(form, text string) {
		got = append(got, form)
		// One parameter can be followed all the way down.
		require.Contains(t, text, "window", "in form %s", form)
	}})
	require.NoError(t, err)
	require.Equal(t, Forms, got)
}

func TestEveryStepIsTimed(t *testing.T) {
	var steps []string
	file, src := library(t, "a_shape")
	_, err := Source(file, src, "", Options{Target: "sm_80", DType: "bf16", HeadDim: 64}, &Observer{Timing: func(step string, d time.Duration) {
		steps = append(steps, step)
		require.GreaterOrEqual(t, d, time.Duration(0))
	}})
	require.NoError(t, err)
	require.Equal(t, "parse and check", steps[0])
	require.Subset(t, steps, []string{"simplify", "disjoint", "codegen", "ptxgen"})
}

// With several targets, whoever watches is told which one a step is for.
func TestStepsNameTheirTarget(t *testing.T) {
	var steps, printed []string
	file, src := library(t, "block_sparse")
	_, err := Source(file, src, "", Options{Target: TargetAuto, DType: "bf16", HeadDim: 64}, &Observer{
		Timing:     func(step string, _ time.Duration) { steps = append(steps, step) },
		PrintAfter: func(pass, target, _ string) { printed = append(printed, pass+" "+target) }})
	require.NoError(t, err)
	require.Subset(t, steps, []string{"parse and check", "index kernels"}, "what is done once")
	for _, target := range Targets() {
		require.Subset(t, steps, []string{"tile for " + target, "ptxgen for " + target, "dense ptxgen for " + target})
		require.Contains(t, printed, "tile "+target)
	}
}

const source = `
pattern near(window = 64, const step = 2) { keep causal & diagonals(0..window step step) }
pattern far(window = 64) { keep causal \ window(window) }
`

func TestConstsAreBakedIn(t *testing.T) {
	compile := func(step int64) *artifact.Artifact {
		p, err := Load("p.minf", []byte(source), "near", nil)
		require.NoError(t, err)
		a, err := p.With(map[string]int64{"step": step}).Compile(Options{Target: "sm_80", DType: "bf16", HeadDim: 64}, nil)
		require.NoError(t, err)
		return a
	}
	a := compile(8)
	p, err := ir.ParsePattern(a.Manifest.Patterns[0].Text)
	require.NoError(t, err)
	require.Equal(t, int64(8), p.Params[1].Default, "the artifact's pattern must mean what was compiled")
	var names []string
	for _, q := range artifacttest.Attend(a).Params {
		names = append(names, q.Name)
	}
	require.Contains(t, names, "p_window")
	require.NotContains(t, names, "p_step")
	require.NotEqual(t, a.Manifest.Patterns[0].Lowered[0].Schedule, compile(4).Manifest.Patterns[0].Lowered[0].Schedule)
	require.Equal(t, "pattern near(window = 64, const step = 2) { keep causal & diagonals(0..window step step) }", a.Manifest.Patterns[0].Source)
}

func TestCompileRefuses(t *testing.T) {
	good := Options{Target: "sm_80", DType: "bf16", HeadDim: 64}
	for pattern, want := range map[string]string{
		"":     `p.minf has 2 patterns (near, far)`,
		"neer": `no pattern "neer", it has near, far, did you mean near?`,
	} {
		_, err := Source("p.minf", []byte(source), pattern, good, nil)
		require.ErrorContains(t, err, want)
	}
	near, err := Load("p.minf", []byte(source), "near", nil)
	require.NoError(t, err)
	for want, change := range map[string]func(*Options){
		`target "sm_70" is not supported`:                                    func(o *Options) { o.Target = "sm_70" },
		`data type "fp8" is not supported`:                                   func(o *Options) { o.DType = "fp8" },
		"head dim 72 is not supported: want a multiple of 16 from 16 to 256": func(o *Options) { o.HeadDim = 72 },
	} {
		o := good
		change(&o)
		_, err := near.Compile(o, nil)
		require.ErrorContains(t, err, want)
	}
	for name, want := range map[string]string{
		"window": "parameter window of near is set at launch", "step": "step must be at least 1", "stepp": `unknown parameter "stepp"`,
	} {
		set := near.With(map[string]int64{name: 0})
		_, err := set.Compile(good, nil)
		require.ErrorContains(t, err, want)
		require.EqualError(t, set.Check(), err.Error())
	}
	var broken *dsl.Error
	_, err = Source("p.minf", []byte("pattern p { keep windw(4) }"), "", good, nil)
	require.ErrorAs(t, err, &broken)
}

// Values of const parameters belong to what With returns alone.
func TestWithLeavesTheProgramAsItWas(t *testing.T) {
	near, err := Load("p.minf", []byte(source), "near", nil)
	require.NoError(t, err)
	require.Error(t, near.With(map[string]int64{"step": 0}).Check())
	require.NoError(t, near.Check())
}

func TestWarningsReachTheCaller(t *testing.T) {
	warned := ""
	_, err := Load("p.minf", []byte("pattern p(n = 4) { keep causal }"), "", &Observer{Warn: func(text string) { warned += text }})
	require.NoError(t, err)
	require.Contains(t, warned, "W0501")
}

// BenchmarkCompile is DSL to PTX; it must stay below 50 ms a kernel.
func BenchmarkCompile(b *testing.B) {
	file, src := library(b, "a_shape")
	for b.Loop() {
		if _, err := Source(file, src, "", Options{Target: "sm_80", DType: "bf16", HeadDim: 128}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func TestUnknownLibraryPattern(t *testing.T) {
	_, err := LoadLibrary("vertical_slsh")
	require.ErrorContains(t, err, `the library has no pattern "vertical_slsh", it has a_shape, `)
	require.ErrorContains(t, err, ", did you mean vertical_slash?")
}
