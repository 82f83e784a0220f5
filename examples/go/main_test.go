package main

import (
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
)

// The example runs on what is there, and says what a causal row 0 must be: the value of its only key.
func TestExample(t *testing.T) {
	t.Setenv("MINFC_CACHE", "off")
	read, write, err := os.Pipe()
	require.NoError(t, err)
	stdout := os.Stdout
	os.Stdout = write
	err = run()
	os.Stdout = stdout
	write.Close()
	require.NoError(t, err)
	said, err := io.ReadAll(read)
	require.NoError(t, err)
	v := make([]float32, 3)
	require.NoError(t, half.Decode(abi.BF16, v, random(kvHeads)[:6]))
	require.Contains(t, string(said), fmt.Sprintf("begins with %.4f", v))
}
