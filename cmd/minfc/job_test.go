package main

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/summary"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// onEmulator is a job ready to run a pattern of the library over n rows and keys on an emulator with the given options.
func onEmulator(t *testing.T, n int, opts emu.Options, pattern string) *job {
	t.Helper()
	dev, err := emu.Open(opts)
	require.NoError(t, err)
	j := &job{dev: dev}
	t.Cleanup(j.close)
	file, err := input.Read(pattern)
	require.NoError(t, err)
	require.NoError(t, j.fromSource(&app{}, file, "", nil))
	j.in, err = qkv.Generate(qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: n, SeqK: n, HeadDim: 16}, abi.F16, 1)
	require.NoError(t, err)
	require.NoError(t, j.load("auto"))
	return j
}

func TestOutOfDeviceMemoryIsNotOurFault(t *testing.T) {
	_, err := onEmulator(t, 4096, emu.Options{MemoryBytes: 1 << 18}, "dense").run(true)
	require.ErrorIs(t, err, device.ErrOutOfMemory)
	require.Equal(t, exitInput, exitCode(err))
}

func TestFaultOfAKernelIsOurs(t *testing.T) {
	_, err := onEmulator(t, 64, emu.Options{Budget: 100}, "dense").run(true) // the kernel looks as if it never ended
	require.Error(t, err)
	require.Equal(t, exitBug, exitCode(err))
}

func TestDensityOfLongInputsIsSampled(t *testing.T) {
	j := onEmulator(t, 64, emu.Options{}, "sliding")
	density := func() summary.Density {
		mask, err := j.mask(runtime.HostResult{})
		require.NoError(t, err)
		return j.density(mask)
	}
	j.launch["window"] = 16
	exact := density()
	require.Equal(t, "causal", exact.Of)
	require.Zero(t, exact.Sampled)
	require.InDelta(t, (64*16-16*15/2)/(64*65/2.0), exact.Value, 1e-12)

	j.in.SeqQ, j.in.SeqK, j.launch["window"] = 1<<17, 1<<17, 1<<14 // only the lengths count
	sampled := density()
	require.Equal(t, "(from 512 of 131072 rows)", sampled.String()[strings.Index(sampled.String(), "("):])
	require.InDelta(t, 0.234375, sampled.Value, 1e-4) // 1 - (7/8)^2

	full := onEmulator(t, 64, emu.Options{}, "full")
	mask, err := full.mask(runtime.HostResult{})
	require.NoError(t, err)
	require.Equal(t, "100 % of all pairs", full.density(mask).String())
}

func TestReportNamesEveryParameter(t *testing.T) {
	j := onEmulator(t, 64, emu.Options{}, "dense")
	file, err := input.Read("dilated")
	require.NoError(t, err)
	require.NoError(t, j.fromSource(&app{}, file, "", map[string]int64{"step": 2}))
	require.Equal(t, map[string]int64{"step": 2}, j.consts)
	require.Empty(t, j.launch)
	require.NoError(t, j.summarize(runtime.HostResult{Milliseconds: 1.5}))
	require.Contains(t, j.sum.Lines(), "pattern  dilated window=4096 step=2")
	require.Contains(t, j.sum.Lines(), "time     1.500 ms")
}

// TestLongRunsAreSaidBeforehand: minutes on the emulator should not come as a surprise, seconds need no word.
func TestLongRunsAreSaidBeforehand(t *testing.T) {
	for _, pattern := range []string{"dense", "vertical_slash"} {
		j := onEmulator(t, 64, emu.Options{}, pattern)
		var stderr strings.Builder
		a := &app{err: &stderr}
		a.warnOfLongRun(j)
		require.Empty(t, stderr.String(), pattern)
		j.in.SeqQ, j.in.SeqK = 1<<17, 1<<17 // only the lengths count
		a.warnOfLongRun(j)
		require.Regexp(t, `^the emulator needs about \d+ minutes for this: give it fewer tokens or heads`, stderr.String(), pattern)
	}
}

// TestEmulatorTellsHowFarItIs: kernels that hand out work by themselves have one block on the emulator, so the bytes that it writes have
// to tell.
func TestEmulatorTellsHowFarItIs(t *testing.T) {
	j := onEmulator(t, 2048, emu.Options{}, "dense")
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
	_, err := j.run(true)
	require.NoError(t, err)
	require.Equal(t, last.Blocks, last.Done)
	require.Equal(t, "attention", last.Kernel)
	outputs := int64(2048*16*2 + 2048*4)
	most := slices.Max(written)
	require.Greater(t, len(written), 3)
	require.LessOrEqual(t, most, outputs)
	require.Greater(t, most, outputs/2)
}
