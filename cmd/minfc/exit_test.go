package main

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/summary"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

// faulty is a command line whose commands fail in the ways that a script cannot provoke.
type faulty struct {
	Panics panics `cmd:""`
	Breaks breaks `cmd:""`
}

type panics struct{}

func (panics) Run() error { panic("index out of range") }

type breaks struct{}

func (breaks) Run() error { return fmt.Errorf("pattern p: internal: segments overlap") }

func TestOurFaultsSaySo(t *testing.T) {
	for command, says := range map[string]string{"panics": "panic: index out of range", "breaks": "segments overlap"} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitBug, run(&faulty{}, []string{command}, &stdout, &stderr))
		require.Contains(t, stderr.String(), says)
		require.Contains(t, stderr.String(), "please report it")
		require.Empty(t, stdout.String())
	}
}

func TestExitCodes(t *testing.T) {
	_, _, broken := dsl.Load("p.minf", []byte("pattern p { keep windw } // x: internal: y"))
	for _, c := range []struct {
		err  error
		code int
	}{
		{nil, exitDone},
		{errors.New("no such file"), exitInput},
		{fmt.Errorf("wrapped: %w", usagef("bad flag")), exitUsage},
		{broken, exitInput},
		{kernelFailure(fmt.Errorf("alloc: %w", device.ErrOutOfMemory)), exitInput},
		{kernelFailure(errors.New("illegal address")), exitBug},
		{kernelFailure(nil), exitDone},
	} {
		require.Equal(t, c.code, exitCode(c.err), "%v", c.err)
	}
}

// TestWrongResultsAreOurFault: a kernel that writes zeros must not pass the check.
func TestWrongResultsAreOurFault(t *testing.T) {
	in, err := qkv.Generate(qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 4, SeqK: 4, HeadDim: 16}, abi.BF16, 1)
	require.NoError(t, err)
	j := &job{in: in, sum: &summary.Run{}, pattern: &ir.Pattern{Name: "p", Keep: ir.All{}}}
	err = j.check(&app{}, runtime.HostResult{O: make([]byte, len(in.Q))})
	require.Equal(t, exitBug, exitCode(err))
	require.Contains(t, j.sum.Check.String(), "wrong: all 4 rows")
}
