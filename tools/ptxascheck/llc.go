package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// llc is LLVM's code generator.
type llc struct{ path string }

// accept has llc compile the LLVM IR and drops the result. sm_80 and PTX 7.0 do for all targets: what newer ones add is
// inline assembly, which llc passes on.
func (l llc) accept(ctx context.Context, ir string) error {
	cmd := exec.CommandContext(ctx, l.path, "-march=nvptx64", "-mcpu=sm_80", "-mattr=+ptx70", "-o", os.DevNull)
	cmd.Stdin = strings.NewReader(ir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s rejects the LLVM IR: %w\n%s", l.path, err, out)
	}
	return nil
}
