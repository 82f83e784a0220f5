package failure

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/runtime/device"
)

func TestExitCodes(t *testing.T) {
	_, _, broken := dsl.Load("p.minf", []byte("pattern p { keep windw } // x: internal: y"))
	for _, c := range []struct {
		err  error
		code int
	}{
		{nil, ExitDone},
		{Usage(nil), ExitDone},
		{errors.New("no such file"), ExitInput},
		{fmt.Errorf("wrapped: %w", Usagef("bad flag")), ExitUsage},
		{broken, ExitInput},
		{errors.New("pattern p: internal: segments overlap"), ExitBug},
		{OfKernel(fmt.Errorf("alloc: %w", device.ErrOutOfMemory)), ExitInput},
		{OfKernel(errors.New("illegal address")), ExitBug},
		{OfKernel(nil), ExitDone},
	} {
		require.Equal(t, c.code, ExitCode(c.err), "%v", c.err)
	}
}

// What a person should do next is in the report.
func TestReport(t *testing.T) {
	for says, err := range map[string]error{
		"":                      nil,
		"minfc: no such file\n": errors.New("no such file"),
		"try minfc --help\n":    Usagef("bad flag"),
		"please report it with the command and its input\n": Bug(errors.New("x")),
	} {
		var b strings.Builder
		require.Equal(t, ExitCode(err), Report(&b, err))
		require.True(t, strings.HasSuffix(b.String(), says), b.String())
	}
}
