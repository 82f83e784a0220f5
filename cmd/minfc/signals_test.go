package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestInterrupted: whatever is being written, Ctrl-C and a request to end leave nothing half-written, and exit with 130. Commands wait
// at a pipe that stands for their output, or compute, when the signal comes.
func TestInterrupted(t *testing.T) {
	minfc, err := exec.LookPath("minfc")
	require.NoError(t, err, "TestMain puts the command on the path")
	plan := `{"schema": 1, "layers": [{"0": {"pattern": "dense"}}]}`
	for name, c := range map[string]struct {
		args   string
		signal os.Signal
	}{
		"gen":          {"gen --seqlen 64k --heads 4 --head-dim 128 -o out", os.Interrupt},
		"run":          {"run dense --qkv - -o out --coverage cover --device emu", syscall.SIGTERM},
		"compile":      {"compile /dev/stdin --head-dim 64 --dtype bf16 -o out", os.Interrupt},
		"plan compile": {"plan compile plan.json --patterns /dev/stdin --head-dim 64 --dtype bf16 -o out", syscall.SIGTERM},
		"search":       {"search --gen mixed --seqlen 4k --heads 4 --density 0.1 --device emu -o out", os.Interrupt},
		"bench":        {"bench dense --seqlen 4k --heads 4 --device emu --json out --plot plot", os.Interrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "plan.json"), []byte(plan), 0o600))
			cmd := exec.Command(minfc, strings.Fields(c.args)...)
			cmd.Dir = dir
			stdin, err := cmd.StdinPipe() // never closed: who reads it waits
			require.NoError(t, err)
			defer stdin.Close()
			stderr, err := cmd.StderrPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			time.Sleep(300 * time.Millisecond)
			require.NoError(t, cmd.Process.Signal(c.signal))
			text, err := io.ReadAll(stderr)
			require.NoError(t, err)
			var failed *exec.ExitError
			require.True(t, errors.As(cmd.Wait(), &failed), "%s", text)
			require.Equal(t, exitInterrupted, failed.ExitCode(), "%s", text)
			require.Contains(t, string(text), "ended by the signal")
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, left, 1, "only what was there before")
		})
	}
}
