package main

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/failure"
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
		require.Equal(t, failure.ExitBug, run(&faulty{}, []string{command}, &stdout, &stderr))
		require.Contains(t, stderr.String(), says)
		require.Contains(t, stderr.String(), "please report it")
		require.Empty(t, stdout.String())
	}
}
