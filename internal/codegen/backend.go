package codegen

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/sm80"
	"github.com/minfc/minfc/internal/codegen/sm90"
	"github.com/minfc/minfc/ir"
)

// Backend makes the attention kernels of one GPU generation.
//
// A pattern of its own goes through Tile and then Attention. The patterns that share the heads of a layer go through Tile, one by one, then
// through Groups, all at once, then through Group, once for each kernel that Groups decided on.
//
// Package codegen alone calls a backend, and promises for every method: head dims passed [abi.CheckHeadDim], the data type is bf16 or f16,
// cfg.Target is the target that the backend is for. A backend promises that calls do not depend on each other, so that several may run at a
// time, and that the same arguments give the same answer, byte by byte.
type Backend interface {
	// Tile is what a schedule is cut to for a kernel of its own. The passes ask for it, maybe several times, when the schedule's segments are
	// there, and with them the lists that it reads; its tile, full tiles, hops and order are still to come. The answer depends on the lists
	// and the head dim alone. A schedule with lists has tiles of ir.BlockSize rows.
	Tile(s *ir.Schedule, headDim int) ir.Tile

	// Attention lowers a schedule to a kernel of its own. It comes after all passes: the schedule is verified, and its tile is what Tile said.
	// The kernel's Sections are left empty. Lists that no kernel reads are refused with an *ir.Unsupported.
	Attention(s *ir.Schedule, cfg Config) (*Kernel, error)

	// Groups decides how the schedules of a layer are put into kernels: which ones together, and what each is cut to there. It comes after the
	// passes and before any code of the layer; the schedules, of which there is one at least, are verified and cut to what Tile said. Every
	// schedule is in the first group, in their order. A later group holds some of them, for launches that need no others.
	Groups(schedules []*ir.Schedule, headDim int) []Grouping

	// Group lowers schedules to one kernel, with a section for each in their order. It comes after Groups, for each of its groups, or for a
	// part of one where the parameters of all would not fit a launch: schedules are verified and cut to what Groups said, and lists is
	// what Groups said of the whole group. The error where they do not fit is a lower.ErrParams, and costs no code.
	Group(schedules []*ir.Schedule, lists bool, cfg Config) (*Kernel, error)
}

// target is a name of a GPU generation, as --target has it, and what makes its kernels.
type target struct {
	name string
	Backend
}

// Older ones first.
var targets = []target{{"sm_80", sm80.Backend{}}, {"sm_90a", sm90.Backend{}}}

// Targets lists the supported targets, older ones first.
func Targets() []string {
	var out []string
	for _, t := range targets {
		out = append(out, t.name)
	}
	return out
}

// backendFor is the backend of a target, for a head dim that it has kernels for.
func backendFor(name string, headDim int) (Backend, error) {
	i := slices.IndexFunc(targets, func(t target) bool { return t.name == name })
	if i < 0 {
		return nil, fmt.Errorf("target %q is not supported: want one of %s", name, strings.Join(Targets(), ", "))
	}
	return targets[i].Backend, abi.CheckHeadDim(headDim)
}
