package job

import (
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/console"
	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/summary"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// onEmulator is a job ready to run a pattern of the library over n rows and keys on an emulator with the given options.
func onEmulator(t *testing.T, n int, opts emu.Options, pattern string, set map[string]int64) *Job {
	t.Helper()
	dev, err := emu.Open(opts)
	require.NoError(t, err)
	file, err := input.Read(pattern)
	require.NoError(t, err)
	j := &Job{console: console.New(io.Discard, io.Discard), dev: dev}
	j.Request = Request{File: file, Set: set, QKV: "in.safetensors", Target: "auto"}
	t.Cleanup(j.Close)
	require.NoError(t, j.fromSource())
	j.In, err = qkv.Generate(qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: n, SeqK: n, HeadDim: 16}, abi.F16, 1)
	require.NoError(t, err)
	require.NoError(t, j.load())
	require.NoError(t, j.prepare())
	return j
}

func TestOutOfDeviceMemoryIsNotOurFault(t *testing.T) {
	_, err := onEmulator(t, 4096, emu.Options{MemoryBytes: 1 << 18}, "dense", nil).Run(true)
	require.ErrorIs(t, err, device.ErrOutOfMemory)
	require.Equal(t, failure.ExitInput, failure.ExitCode(err))
}

func TestFaultOfAKernelIsOurs(t *testing.T) {
	_, err := onEmulator(t, 64, emu.Options{Budget: 100}, "dense", nil).Run(true) // the kernel looks as if it never ended
	require.Error(t, err)
	require.Equal(t, failure.ExitBug, failure.ExitCode(err))
}

func TestDensityOfLongInputsIsSampled(t *testing.T) {
	j := onEmulator(t, 64, emu.Options{}, "sliding", nil)
	density := func() summary.Density {
		require.NoError(t, j.prepare())
		mask, err := j.mask(runtime.HostResult{})
		require.NoError(t, err)
		return j.density(mask)
	}
	j.launch["window"] = 16
	exact := density()
	require.Equal(t, "causal", exact.Of)
	require.Zero(t, exact.Sampled)
	require.InDelta(t, (64*16-16*15/2)/(64*65/2.0), exact.Value, 1e-12)

	j.In.SeqQ, j.In.SeqK, j.launch["window"] = 1<<17, 1<<17, 1<<14 // only the lengths count
	sampled := density()
	require.Equal(t, "(from 512 of 131072 rows)", sampled.String()[strings.Index(sampled.String(), "("):])
	require.InDelta(t, 0.234375, sampled.Value, 1e-4) // 1 - (7/8)^2

	full := onEmulator(t, 64, emu.Options{}, "full", nil)
	mask, err := full.mask(runtime.HostResult{})
	require.NoError(t, err)
	require.Equal(t, "100 % of all pairs", full.density(mask).String())
}

func TestReportNamesEveryParameter(t *testing.T) {
	j := onEmulator(t, 64, emu.Options{}, "dilated", map[string]int64{"step": 2})
	require.Equal(t, map[string]int64{"step": 2}, j.consts)
	require.Empty(t, j.launch)
	sum, wrong, err := j.Report(runtime.HostResult{Milliseconds: 1.5}, false)
	require.NoError(t, errors.Join(wrong, err))
	require.Contains(t, sum.Lines(), "pattern  dilated window=4096 step=2")
	require.Contains(t, sum.Lines(), "time     1.500 ms")
	require.Nil(t, sum.Check)
}

// A wrong result is in the report, and an error.
func TestReportOfAWrongResult(t *testing.T) {
	j := onEmulator(t, 64, emu.Options{}, "dense", nil)
	res, err := j.Run(true)
	require.NoError(t, err)
	clear(res.O)
	sum, wrong, err := j.Report(res, true)
	require.NoError(t, err)
	require.Equal(t, failure.ExitBug, failure.ExitCode(wrong))
	require.False(t, sum.Check.OK)
}

// What a run keeps is what its coverage lists, and a row that does not exist is found before the launch.
func TestCoverage(t *testing.T) {
	j := onEmulator(t, 64, emu.Options{}, "sliding", map[string]int64{"window": 2})
	j.Coverage, j.Rows = true, []int{0, 5}
	require.NoError(t, j.checkCoverage())
	cover, err := j.CoverTensor(runtime.HostResult{})
	require.NoError(t, err)
	kept := map[int]bool{0: true, 64 + 4: true, 64 + 5: true}
	for i, x := range cover.Data {
		require.Equal(t, kept[i], x == 1, i)
	}
	j.Rows = []int{64}
	require.EqualError(t, j.checkCoverage(), "--rows: there is no query row 64, q has 64, counted from 0")
	j.Rows, j.In.SeqQ, j.In.SeqK = nil, 1<<16, 1<<16 // only the lengths count
	require.ErrorContains(t, j.checkCoverage(), "--coverage: 65536 rows of 1 heads and 65536 keys need 4.3 GB")
}

func TestArtifactsThatDoNotFit(t *testing.T) {
	file, err := input.Read("dilated")
	require.NoError(t, err)
	p, err := compile.Load(file.Name, file.Source, "", nil)
	require.NoError(t, err)
	art, err := p.Compile(compile.Options{Target: "sm_80", DType: abi.F16, HeadDim: 16}, nil)
	require.NoError(t, err)
	for want, r := range map[string]Request{
		"d.minf holds the pattern dilated, not dense":                                   {Pattern: "dense"},
		"d.minf was compiled with step = 4, which is const: compile again to change it": {Set: map[string]int64{"step": 2}},
		"--set: window must be at least 0, got -1":                                      {Set: map[string]int64{"window": -1}},
	} {
		r.File = &input.File{Name: "d.minf", Artifact: art}
		_, err := Prepare(console.New(io.Discard, io.Discard), r)
		require.EqualError(t, err, want, "%+v", r.Set)
	}
}

// TestLongRunsAreSaidBeforehand: minutes on the emulator should not come as a surprise, seconds need no word.
func TestLongRunsAreSaidBeforehand(t *testing.T) {
	for _, pattern := range []string{"dense", "vertical_slash"} {
		j := onEmulator(t, 64, emu.Options{}, pattern, nil)
		var stderr strings.Builder
		j.console.Err = &stderr
		j.Watch()
		require.Empty(t, stderr.String(), pattern)
		j.In.SeqQ, j.In.SeqK = 1<<17, 1<<17 // only the lengths count
		require.NoError(t, j.prepare())
		j.Watch()
		require.Regexp(t, `^the emulator needs about \d+ minutes for this: give it fewer tokens or heads`, stderr.String(), pattern)
	}
}

// TestEmulatorTellsHowFarItIs: kernels that hand out work by themselves have one block on the emulator, so the bytes that it writes have
// to tell.
func TestEmulatorTellsHowFarItIs(t *testing.T) {
	j := onEmulator(t, 2048, emu.Options{}, "dense", nil)
	var mu sync.Mutex
	var last emu.Progress
	var written []int64
	j.dev.(*emu.Device).Watch(func(p emu.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if last.Done <= p.Done {
			last = p
		}
		written = append(written, p.Written)
	})
	_, err := j.Run(true)
	require.NoError(t, err)
	require.Equal(t, last.Blocks, last.Done)
	require.Equal(t, "attention", last.Kernel)
	outputs := int64(2048*16*2 + 2048*4)
	most := slices.Max(written)
	require.Greater(t, len(written), 3)
	require.LessOrEqual(t, most, outputs)
	require.Greater(t, most, outputs/2)
}
