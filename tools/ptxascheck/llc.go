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

// accept has llc compile the LLVM IR for a GPU generation and drops the result. PTX 7.0 is the first with sm_80.
func (l llc) accept(ctx context.Context, ir, arch string) error {
	cmd := exec.CommandContext(ctx, l.path, "-march=nvptx64", "-mcpu="+arch, "-mattr=+ptx70", "-o", os.DevNull)
	cmd.Stdin = strings.NewReader(ir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s rejects the LLVM IR: %w\n%s", l.path, err, out)
	}
	return nil
}
