package artifact

import (
	"fmt"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/want"
	"github.com/minfc/minfc/ir"
)

// IndexKernel is a kernel that a program runs beside attention, by the name that the program calls it by.
type IndexKernel struct {
	Name        string  `json:"name"`
	Entry       string  `json:"entry"`
	Threads     int     `json:"threads"` // threads of one block, or the most it can have
	SharedBytes int     `json:"shared_bytes"`
	Module      int     `json:"module"` // index in Artifact.Modules
	Params      []Param `json:"params"` // in the order of the PTX entry
}

func (k *IndexKernel) verify(modules int) error {
	if err := want.All(
		want.That(k.Name != "" && k.Name != abi.Attend && k.Name != abi.Dense, "name", fmt.Sprintf("%q", k.Name), "one of its own"),
		want.That(entryName.MatchString(k.Entry), "entry", fmt.Sprintf("%q", k.Entry), "a PTX name"),
		want.That(want.Multiple(k.Threads, 1, 1, 1024), "threads", fmt.Sprint(k.Threads), "1 to 1024"),
		want.That(want.Multiple(k.SharedBytes, 1, 0, 1<<20), "shared_bytes", fmt.Sprint(k.SharedBytes), "at most 1 MB"),
		want.That(k.Module >= 0 && k.Module < modules, "module", fmt.Sprint(k.Module), fmt.Sprintf("one of the file's %d", modules)),
	); err != nil {
		return err
	}
	return verifyParams(k.Params)
}

// Parameters finds the parameters of the kernels that a program may run.
func (k *Kernel) Parameters(name string) ([]Param, bool) {
	switch {
	case name == abi.Attend:
		return k.Params, true
	case name == abi.Dense && k.Dense != nil:
		return k.Dense.Params, true
	}
	for i := range k.Index {
		if k.Index[i].Name == name {
			return k.Index[i].Params, true
		}
	}
	return nil, false
}

// ReadProgram reads the program, and checks it against the kernels.
func (k *Kernel) ReadProgram(s *ir.Schedule, modules int) (*ir.Program, error) {
	for i := range k.Index {
		if err := k.Index[i].verify(modules); err != nil {
			return nil, fmt.Errorf("index kernel %d (%s): %w", i, k.Index[i].Name, err)
		}
	}
	p, err := ir.ParseProgram(k.Program)
	if err != nil {
		return nil, fmt.Errorf("program: %w", err)
	}
	return p, p.Verify(s.Params, k.Parameters)
}
