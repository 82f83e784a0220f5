package nvidia

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/minfc/minfc/runtime/device"
)

// PtxasVariable names a ptxas, the assembler of the CUDA toolkit: a path, or off for none. Without it one is looked for on the PATH and in
// /usr/local/cuda.
const PtxasVariable = "MINFC_PTXAS"

// ptxasLimit is how long it may take; kernels take a second or two.
const ptxasLimit = 2 * time.Minute

var errNoPtxas = errors.New("there is no ptxas")

// ptxas finds the assembler, "" if there is none.
func ptxas() string {
	switch given := os.Getenv(PtxasVariable); given {
	case "off":
		return ""
	case "":
	default:
		return given
	}
	if path, err := exec.LookPath("ptxas"); err == nil {
		return path
	}
	const usual = "/usr/local/cuda/bin/ptxas"
	if _, err := os.Stat(usual); err == nil {
		return usual
	}
	return ""
}

// assemble makes a cubin of PTX with ptxas. Whatever goes wrong there, the driver's own compiler is asked next.
func assemble(on device.Info, ptx []byte) ([]byte, error) {
	path := ptxas()
	if path == "" {
		return nil, errNoPtxas
	}
	dir, err := os.MkdirTemp("", "minfc-ptxas-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	from, to := filepath.Join(dir, "module.ptx"), filepath.Join(dir, "module.cubin")
	if err := os.WriteFile(from, ptx, 0o600); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), ptxasLimit)
	defer cancel()
	if said, err := exec.CommandContext(ctx, path, "-arch", arch(on, ptx), from, "-o", to).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", path, err, bytes.TrimSpace(said))
	}
	return os.ReadFile(to)
}

// arch is what a cubin is made for: the GPU at hand, with the suffix of the PTX's target, which only that GPU runs.
func arch(on device.Info, ptx []byte) string {
	name := fmt.Sprintf("sm_%d%d", on.Major, on.Minor)
	_, rest, _ := strings.Cut(string(ptx), ".target")
	if target, _, _ := strings.Cut(strings.TrimSpace(rest), "\n"); strings.HasSuffix(strings.TrimSpace(target), "a") {
		name += "a"
	}
	return name
}
