package artifact

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/want"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// Verify checks that the artifact can be loaded and launched as far as that can be known without a device:
//   - it has kernels, and each one's module exists
//   - entries are PTX names; targets, data types, head dims and launch sizes are in range
//   - the pattern and the schedules parse and verify, and the schedules are cut to the kernels' tiles
//   - the program parses and verifies against the kernels, and attention takes all that its schedule asks of it
//   - a dense kernel beside one with lists is for the same calls and reads no lists
//   - of a head plan, the same holds for each member, and every section of a group is one of a member
//
// Errors wrap ErrManifest, or ErrVersion for another schema.
func (a *Artifact) Verify() error {
	if s := a.Manifest.Schema; s != SchemaVersion {
		return fmt.Errorf("%w: its manifest has schema %d, this program reads schema %d; %s",
			ErrVersion, s, SchemaVersion, versionAdvice(s, SchemaVersion))
	}
	if a.IsPlan() {
		return a.verifyPlan()
	}
	if len(a.Manifest.Kernels) == 0 {
		return fmt.Errorf("%w: it lists no kernels", ErrManifest)
	}
	if err := verifyPattern(a.Manifest.Pattern); err != nil {
		return fmt.Errorf("%w: %w", ErrManifest, err)
	}
	for i := range a.Manifest.Kernels {
		if err := a.Manifest.Kernels[i].verify(len(a.Modules)); err != nil {
			return fmt.Errorf("%w: kernel %d: %w", ErrManifest, i, err)
		}
	}
	return nil
}

var (
	entryName  = regexp.MustCompile(`^[a-zA-Z_$%][a-zA-Z0-9_$]*$`)
	ptxVersion = regexp.MustCompile(`^[1-9]\.[0-9]$`)
)

func (k *Kernel) verify(modules int) error {
	s, err := k.verifyBody(modules)
	if err != nil {
		return err
	}
	if err := k.verifyQueue(s); err != nil {
		return err
	}
	if err := verifyAsked(k.Params, k.asked(s)); err != nil {
		return err
	}
	dense, err := k.verifyDense(s, modules)
	if err == nil && dense != nil {
		if err = verifyAsked(k.Dense.Params, abi.Params(dense)); err != nil {
			err = fmt.Errorf("dense kernel: %w", err)
		}
	}
	if err != nil {
		return err
	}
	p, err := k.ReadProgram(s, modules)
	if err != nil {
		return err
	}
	return k.verifyRuns(p)
}

// asked are the parameters that the kernel must have.
func (k *Kernel) asked(s *ir.Schedule) []Param {
	if k.BlocksPerSM > 0 {
		return append(abi.Params(s), abi.QueueParams...)
	}
	return abi.Params(s)
}

// verifyQueue checks that a kernel whose blocks share a queue says so twice, in its launch and its parameters, and that its calls have a
// workspace, where the queue is.
func (k *Kernel) verifyQueue(s *ir.Schedule) error {
	queue := abi.QueueParams[0].Name
	takes := slices.ContainsFunc(k.Params, func(p Param) bool { return p.Name == queue })
	switch queued := k.BlocksPerSM > 0; {
	case takes != queued:
		return fmt.Errorf("blocks_per_sm is %d, want it above 0 for kernels with the parameter %s and 0 for others", k.BlocksPerSM, queue)
	case queued && len(s.Index) == 0:
		return fmt.Errorf("blocks_per_sm is %d, want 0 where no data decides: such calls have no workspace for a queue", k.BlocksPerSM)
	}
	return nil
}

// verifyRuns checks that the program has the parts that a call asks it for: without one, a launch would succeed and compute nothing.
func (k *Kernel) verifyRuns(p *ir.Program) error {
	asked, runs := []string{ir.PartAttend}, []string{abi.Attend}
	if k.Dense != nil {
		asked, runs = append(asked, ir.PartDecide, ir.PartDense), append(runs, abi.Dense)
	}
	for _, part := range asked {
		if p.Part(part) == nil {
			return fmt.Errorf("program %s has no part %s", p.Name, part)
		}
	}
	for _, kernel := range runs {
		if !slices.Contains(p.KernelNames(), kernel) {
			return fmt.Errorf("program %s does not run the kernel %s", p.Name, kernel)
		}
	}
	return nil
}

// verifyBody checks the kernel by itself, and returns its schedule.
func (k *Kernel) verifyBody(modules int) (*ir.Schedule, error) {
	if err := k.verifyNumbers(modules); err != nil {
		return nil, err
	}
	if err := verifyParams(k.Params); err != nil {
		return nil, err
	}
	return k.ReadSchedule()
}

func (k *Kernel) verifyNumbers(modules int) error {
	return want.All(
		want.That(entryName.MatchString(k.Entry), "entry", fmt.Sprintf("%q", k.Entry), "a PTX name"),
		want.That(device.IsTarget(k.Target), "target", fmt.Sprintf("%q", k.Target), "a GPU generation such as sm_80"),
		want.That(k.DType == "bf16" || k.DType == "f16", "dtype", fmt.Sprintf("%q", k.DType), "bf16 or f16"),
		want.That(ptxVersion.MatchString(k.PTXVersion), "ptx_version", fmt.Sprintf("%q", k.PTXVersion), "a number such as 7.4"),
		want.That(want.Multiple(k.HeadDim, 16, 16, 256), "head_dim", fmt.Sprint(k.HeadDim), "a multiple of 16 from 16 to 256"),
		want.That(want.Multiple(k.RowTile, 16, 16, 1024), "row_tile", fmt.Sprint(k.RowTile), "a multiple of 16 from 16 to 1024"),
		want.That(want.Multiple(k.KeyTile, 16, 16, 1024), "key_tile", fmt.Sprint(k.KeyTile), "a multiple of 16 from 16 to 1024"),
		want.That(want.Multiple(k.Threads, 32, 32, 1024), "threads", fmt.Sprint(k.Threads), "a multiple of 32 from 32 to 1024"),
		want.That(want.Multiple(k.SharedBytes, 1, 0, 1<<20), "shared_bytes", fmt.Sprint(k.SharedBytes), "at most 1 MB"),
		want.That(want.Multiple(k.BlockRows, 16, 0, 1024), "block_rows", fmt.Sprint(k.BlockRows), "a multiple of 16 up to 1024"),
		want.That(want.Multiple(k.BlocksPerSM, 1, 0, 32), "blocks_per_sm", fmt.Sprint(k.BlocksPerSM), "at most 32"),
		want.That(k.Module >= 0 && k.Module < modules, "module", fmt.Sprint(k.Module), fmt.Sprintf("one of the file's %d", modules)),
	)
}

// verifyDense checks the kernel that computes heads instead of k, and returns its schedule; nil if there is none.
func (k *Kernel) verifyDense(s *ir.Schedule, modules int) (*ir.Schedule, error) {
	d := k.Dense
	if d == nil {
		return nil, nil
	}
	alone := len(d.Index) == 0 && d.Program == "" && d.Dense == nil && d.BlocksPerSM == 0
	same := d.Target == k.Target && d.DType == k.DType && d.HeadDim == k.HeadDim
	if err := want.All(
		want.That(len(s.Index) > 0, "dense", "there", "none beside a kernel without lists"),
		want.That(same, "dense", "for another target, data type or head dim", "those of its kernel"),
		want.That(alone, "dense", "a kernel with a program, a queue or a dense kernel of its own", "one kernel alone"),
	); err != nil {
		return nil, err
	}
	dense, err := d.verifyBody(modules)
	if err == nil && len(dense.Index) > 0 {
		err = fmt.Errorf("its schedule reads lists")
	}
	if err == nil {
		err = d.verifyQueue(dense)
	}
	if err != nil {
		return nil, fmt.Errorf("dense kernel: %w", err)
	}
	return dense, nil
}

func verifyPattern(text string) error {
	p, err := ir.ParsePattern(text)
	if err != nil {
		return fmt.Errorf("pattern: %w", err)
	}
	return p.Verify()
}

// ReadSchedule parses and verifies the kernel's schedule.
func (k *Kernel) ReadSchedule() (*ir.Schedule, error) {
	s, err := ir.ParseSchedule(k.Schedule)
	if err != nil {
		return nil, fmt.Errorf("schedule: %w", err)
	}
	if err := s.Verify(); err != nil {
		return nil, err
	}
	if want := (ir.Tile{Rows: k.RowTile, Keys: k.KeyTile}); s.Tile != want {
		return nil, fmt.Errorf("schedule is cut to tiles of %dx%d, the kernel to %dx%d", s.Tile.Rows, s.Tile.Keys, want.Rows, want.Keys)
	}
	return s, nil
}
