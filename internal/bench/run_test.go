package bench

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

func small() Config {
	return Config{
		Patterns: []string{"a_shape", "full"}, SeqLens: []int{100, 256}, QHeads: 2, KVHeads: 1, HeadDim: 64, DType: abi.BF16,
		Workload: workload.AShape, Seed: 3, Set: map[string]int64{"window": 40, "sink": 9}, VsDense: true, Rounds: 2, Seconds: 1,
	}
}

func emulator(t *testing.T, o emu.Options) device.Device {
	dev, err := emu.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	return dev
}

func TestRun(t *testing.T) {
	c := small()
	var progress []string
	c.Progress = func(what string, done, total int) {
		progress = append(progress, fmt.Sprintf("%s %d/%d", what, done, total))
	}
	r, err := Run(emulator(t, emu.Options{}), c)
	require.NoError(t, err)
	require.Empty(t, r.Failures())
	require.True(t, r.Machine.Emulated)
	require.Greater(t, r.Rates[0].TFLOPS, 0.0)
	var labels []string
	for _, row := range r.Rows {
		labels = append(labels, Length(row.SeqLen)+" "+row.Label())
		require.Greater(t, row.TotalMS, 0.0)
		require.LessOrEqual(t, row.LowMS, row.TotalMS)
		require.LessOrEqual(t, row.TotalMS, row.HighMS)
		require.Equal(t, 2, row.Rounds)
		require.Greater(t, row.UsefulTFLOPS, 0.0)
		require.LessOrEqual(t, row.UsefulTFLOPS, *row.TileTFLOPS)
	}
	require.Equal(t, []string{"100 dense", "100 a_shape sink=9 window=40", "100 full", "256 dense", "256 a_shape sink=9 window=40", "256 full"}, labels,
		"dense comes first although it was not asked for; full is its own baseline")
	require.Equal(t, 1.0, *r.Rows[2].VsDense)
	require.InDelta(t, r.Rows[3].TotalMS/r.Rows[4].TotalMS, *r.Rows[4].VsDense, 1e-12, "above 1 where dense takes longer")
	for i, kept := range map[int]float64{0: 1, 2: 1, 3: 1, 5: 1} {
		require.InDelta(t, kept, *r.Rows[i].Recall, 1e-3, "what keeps everything: row %d", i)
	}
	require.Equal(t, 256, r.Rows[4].RecallRows)
	require.Contains(t, progress, "256: measuring 1/2")
	requireQuality(t, c, r.Rows[4])
}

// requireQuality compares recall and error with float64 attention over the same inputs.
func requireQuality(t *testing.T, c Config, row Row) {
	spec := c.spec(row.SeqLen)
	in := ir.Inputs[float32]{B: 1, Hq: c.QHeads, Hk: c.KVHeads, Sq: row.SeqLen, Sk: row.SeqLen, D: c.HeadDim, Scale: 1 / math.Sqrt(64)}
	q, k, v, err := workload.Generate(spec)
	require.NoError(t, err)
	for _, x := range []struct {
		to   *[]float32
		from []byte
	}{{&in.Q, q}, {&in.K, k}, {&in.V, v}} {
		*x.to = make([]float32, len(x.from)/2)
		require.NoError(t, half.Decode(c.DType, *x.to, x.from))
	}
	attend := func(keep func(q, k int) bool) (o, lse []float64) {
		in.Keep = keep
		o, lse, err := ir.Reference(in, nil)
		require.NoError(t, err)
		return o, lse
	}
	dense, denseLSE := attend(func(q, k int) bool { return k <= q })
	mine, mineLSE := attend(func(q, k int) bool { return k <= q && (k < 9 || q-k < 40) })
	recall, diff, norm := 0.0, 0.0, 0.0
	for i := range denseLSE {
		recall += math.Exp(mineLSE[i]-denseLSE[i]) / float64(len(denseLSE))
	}
	for head := range c.QHeads {
		for _, i := range spread(row.SeqLen, sampledRows) {
			at := (head*row.SeqLen + i) * c.HeadDim
			for j := at; j < at+c.HeadDim; j++ {
				diff, norm = diff+(mine[j]-dense[j])*(mine[j]-dense[j]), norm+dense[j]*dense[j]
			}
		}
	}
	require.InDelta(t, recall, *row.Recall, 1e-4)
	require.InDelta(t, math.Sqrt(diff/norm), *row.Error, selfcheck.LimitsOf(c.DType).Frobenius)
}

func TestRunWithoutComparison(t *testing.T) {
	c := small()
	c.VsDense, c.SeqLens, c.Workload = false, []int{70}, workload.Random
	r, err := Run(emulator(t, emu.Options{}), c)
	require.NoError(t, err)
	require.Len(t, r.Rows, 2)
	for _, row := range r.Rows {
		require.Nil(t, row.VsDense)
		require.Nil(t, row.Error)
		require.Equal(t, 70, row.RecallRows, "recall needs no baseline")
	}
	require.Less(t, *r.Rows[0].Recall, 0.97)
	require.InDelta(t, 1, *r.Rows[1].Recall, 1e-3)
}

// One length without room must not cost the others.
func TestLengthWithoutMemory(t *testing.T) {
	c := small()
	c.SeqLens = []int{1024, 64}
	r, err := Run(emulator(t, emu.Options{MemoryBytes: 1 << 19}), c)
	require.NoError(t, err)
	require.Len(t, r.Failures(), 3)
	require.Contains(t, r.Failures()[0], "dense, length 1024, minfc sm_90a: ")
	require.Contains(t, r.Failures()[0], "memory")
	require.Empty(t, r.Rows[5].Failure)
	require.Greater(t, r.Rows[5].TotalMS, 0.0)
}

// A kernel that writes wrong numbers must not get figures: here half of its stores are gone.
func TestUnwrittenOutputsAreFound(t *testing.T) {
	p, err := compile.Source("p", []byte("pattern p { keep causal & window(8) }"), "", compile.Options{Target: "sm_80", DType: "bf16", HeadDim: 64}, nil)
	require.NoError(t, err)
	before := string(p.Modules[0])
	lines := slices.DeleteFunc(strings.SplitAfter(before, "\n"), func(l string) bool { return strings.Contains(l, "st.global.v4") })
	p.Modules[0] = []byte(strings.Join(lines, ""))
	require.NotEqual(t, before, string(p.Modules[0]))
	data, err := p.Encode()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "p.minf")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	c := small()
	c.Patterns, c.Set, c.SeqLens = []string{path}, nil, []int{64}
	r, err := Run(emulator(t, emu.Options{}), c)
	require.NoError(t, err)
	require.Contains(t, r.Failures()[0], "the outputs are not numbers")
}

func TestConfigIsChecked(t *testing.T) {
	dev := emulator(t, emu.Options{})
	for says, change := range map[string]func(*Config){
		"no pattern to measure":                           func(c *Config) { c.Patterns = nil },
		"no length to measure at":                         func(c *Config) { c.SeqLens = nil },
		"sequence length 0":                               func(c *Config) { c.SeqLens = []int{64, 0} },
		"3 q heads do not share 2 kv heads":               func(c *Config) { c.QHeads, c.KVHeads = 3, 2 },
		"head dim 72 is not supported":                    func(c *Config) { c.HeadDim = 72 },
		`there is no workload "a_shap"`:                   func(c *Config) { c.Workload = "a_shap" },
		"found -1 rounds":                                 func(c *Config) { c.Rounds = -1 },
		`no library pattern "a_shp"`:                      func(c *Config) { c.Patterns = []string{"a_shp"} },
		`none of the patterns has a parameter "windw"`:    func(c *Config) { c.Set = map[string]int64{"windw": 3} },
		"window must be at least 1, got 0":                func(c *Config) { c.Set = map[string]int64{"window": 0} },
		`target "sm_33" is not supported`:                 func(c *Config) { c.Target = "sm_33" },
		"the emulator would compute 1.07G pairs of dense": func(c *Config) { c.SeqLens = []int{32 << 10} },
	} {
		c := small()
		change(&c)
		_, err := Run(dev, c)
		require.ErrorContains(t, err, says)
	}
}

func TestPredict(t *testing.T) {
	c := small()
	c.QHeads, c.KVHeads, c.HeadDim, c.SeqLens = 32, 8, 128, []int{32 << 10, 1 << 20}
	r, err := Predict(c, "")
	require.NoError(t, err)
	require.Len(t, r.Rows, 6)
	require.Greater(t, *r.Rows[1].VsDense, 5.0, "a small window is far faster than dense")
	require.Greater(t, r.Rows[3].TotalMS, 900*r.Rows[0].TotalMS, "dense grows with the square of the length")
	for machine, says := range map[string]string{"H2000": `the cost model does not know "H2000"`} {
		_, err := Predict(c, machine)
		require.ErrorContains(t, err, says)
	}
	c.Target = "sm_33"
	_, err = Predict(c, "")
	require.ErrorContains(t, err, "no machine with sm_33 code")
}

// Inputs rotate past the cache as far as memory allows.
func TestSetCount(t *testing.T) {
	gpu := device.Info{Driver: "cuda", L2Bytes: 50 << 20, MemoryBytes: 140 << 30}
	require.Equal(t, maxSets, setCount(gpu, 1<<20, 1<<20))
	require.Equal(t, 2, setCount(gpu, 100<<20, 1<<20))
	require.Equal(t, 1, setCount(gpu, 200<<20, 1<<20))
	gpu.MemoryBytes = 100 << 20
	require.Equal(t, 2, setCount(gpu, 30<<20, 8<<20))
	require.Equal(t, 1, setCount(device.Info{Driver: "emu", L2Bytes: 1 << 30, MemoryBytes: 1 << 40}, 1, 1))
}

// cached is an emulator that says it has a cache.
type cached struct{ device.Device }

func (d cached) Info() device.Info {
	i := d.Device.Info()
	i.Driver, i.L2Bytes = "cuda", 100<<10
	return i
}

// Inputs that rotate hold different numbers, and every set has its turn.
func TestInputsRotate(t *testing.T) {
	dev := cached{emulator(t, emu.Options{})}
	m, err := small().newMemory(dev, 100, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, m.close()) }()
	require.Len(t, m.sets, 5)
	seen := map[string]bool{}
	for range 5 {
		row := make([]byte, 128)
		require.NoError(t, dev.CopyToHost(row, m.next().Q, nil))
		seen[string(row)] = true
	}
	require.Len(t, seen, 5)
}

func TestCommandLine(t *testing.T) {
	require.Equal(t, `minfc bench "my pattern.minf" --set "a=$b"`, CommandLine([]string{"bench", "my pattern.minf", "--set", "a=$b"}))
}
