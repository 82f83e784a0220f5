package emu

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A fault of the emulator itself ends the launch with an error, not the program.
func TestPanicsBecomeErrors(t *testing.T) {
	c := collector{failedAt: 1}
	c.work(&block{}) // has no launch to run
	require.ErrorContains(t, c.err, "internal: emulator: block 0")
}
