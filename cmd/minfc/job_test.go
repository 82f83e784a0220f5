package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/internal/half"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/emu"
)

// onEmulator is a job ready to run dense attention over n rows and keys on an emulator with the given options.
func onEmulator(t *testing.T, n int, opts emu.Options) *job {
	t.Helper()
	dev, err := emu.Open(opts)
	require.NoError(t, err)
	j := &job{dev: dev}
	t.Cleanup(j.close)
	file, err := minfc.ReadInput("dense")
	require.NoError(t, err)
	require.NoError(t, j.fromSource(&app{}, file, "", nil))
	j.in, err = qkv.Generate(qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: n, SeqK: n, HeadDim: 16}, half.F16, 1)
	require.NoError(t, err)
	require.NoError(t, j.load("auto"))
	return j
}

func TestOutOfDeviceMemoryIsNotOurFault(t *testing.T) {
	_, err := onEmulator(t, 4096, emu.Options{MemoryBytes: 1 << 18}).run(true)
	require.ErrorIs(t, err, runtime.ErrOutOfMemory)
	require.Equal(t, exitInput, exitCode(err))
}

func TestFaultOfAKernelIsOurs(t *testing.T) {
	_, err := onEmulator(t, 64, emu.Options{Budget: 100}).run(true) // the kernel looks as if it never ended
	require.Error(t, err)
	require.Equal(t, exitBug, exitCode(err))
}

func TestDensityOfLongInputsIsSampled(t *testing.T) {
	j := onEmulator(t, 64, emu.Options{})
	exact, note, err := j.density(runtime.HostResult{})
	require.NoError(t, err)
	require.Empty(t, note)
	require.InDelta(t, 0.5*65/64, exact, 1e-12)

	j.in.SeqQ, j.in.SeqK = 1<<17, 1<<17 // only the lengths count
	sampled, note, err := j.density(runtime.HostResult{})
	require.NoError(t, err)
	require.Equal(t, " (from 512 of 131072 rows)", note)
	require.InDelta(t, 0.5, sampled, 1e-5)
}

func TestReportNamesEveryParameter(t *testing.T) {
	j := onEmulator(t, 64, emu.Options{})
	file, err := minfc.ReadInput("dilated")
	require.NoError(t, err)
	require.NoError(t, j.fromSource(&app{}, file, "", map[string]int64{"step": 2}))
	require.Equal(t, map[string]int64{"step": 2}, j.consts)
	require.Empty(t, j.launch)
	var out bytes.Buffer
	require.NoError(t, j.report(&app{out: &results{w: &out}}, runtime.HostResult{Milliseconds: 1.5}))
	require.Contains(t, out.String(), "pattern  dilated window=4096 step=2\n")
	require.Contains(t, out.String(), "time     1.500 ms\n")
}
