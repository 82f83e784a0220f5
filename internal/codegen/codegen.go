// Package codegen lowers a schedule to LLVM IR in NVVM style, one kernel at a time. It does not know the language.
//
// Shared parts are in lower; each GPU generation has a package of its own.
package codegen

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/internal/codegen/sm80"
	"github.com/minfc/minfc/internal/codegen/sm90"
	"github.com/minfc/minfc/ir"
)

// The description of a kernel is shared with the backends.
type (
	DType  = lower.DType
	Config = lower.Config
	Kernel = lower.Kernel
	Param  = lower.Param
)

const (
	BF16 = lower.BF16
	F16  = lower.F16
)

// ErrParams is the error of a group with more sections than one launch has room to say things of.
var ErrParams = lower.ErrParams

// backend is one GPU generation.
type backend struct {
	target    string
	tile      func(headDim int) ir.Tile // of schedules of ranges alone
	listTile  func(headDim int) ir.Tile // of schedules with lists of what the data chose
	attention func(*ir.Schedule, Config) (*Kernel, error)

	besideLists func(headDim int) (ir.Tile, bool) // of schedules of ranges in a group that has lists
	group       func([]*ir.Schedule, Config) (*Kernel, error)
}

// Older ones first.
var backends = []backend{
	{"sm_80", sm80.TileFor, sm80.ListTileFor, sm80.Attention, sm80.BesideLists, sm80.Group},
	{"sm_90a", sm90.TileFor, sm90.ListTileFor, sm90.Attention, sm90.BesideLists, sm90.Group},
}

// Targets lists the supported targets, older ones first.
func Targets() []string {
	var out []string
	for _, b := range backends {
		out = append(out, b.target)
	}
	return out
}

func backendFor(target string) (backend, error) {
	i := slices.IndexFunc(backends, func(b backend) bool { return b.target == target })
	if i < 0 {
		return backend{}, fmt.Errorf("target %q is not supported: want one of %s", target, strings.Join(Targets(), ", "))
	}
	return backends[i], nil
}

// TileFor is the tile a schedule must be cut to for a target and head dim; lists says whether it reads lists, which is
// whether its pattern has an index stage.
func TileFor(target string, headDim int, lists bool) (ir.Tile, error) {
	b, err := backendFor(target)
	if err != nil {
		return ir.Tile{}, err
	}
	if err := lower.CheckHeadDim(headDim); err != nil {
		return ir.Tile{}, err
	}
	if lists {
		return b.listTile(headDim), nil
	}
	return b.tile(headDim), nil
}

// BesideLists is the tile of a schedule without lists in a group that has lists, and whether its blocks are there what they are by
// themselves. If not, a group without lists is the faster one for it.
func BesideLists(target string, headDim int) (tile ir.Tile, same bool, err error) {
	b, err := backendFor(target)
	if err == nil {
		err = lower.CheckHeadDim(headDim)
	}
	if err != nil {
		return ir.Tile{}, false, err
	}
	tile, same = b.besideLists(headDim)
	return tile, same, nil
}

// Group lowers verified schedules to one kernel of cfg.Target, with a section for each in their order: attention for all heads of a
// layer in one launch. Their tiles are those of TileFor; where schedules with lists are among them, cfg.BesideLists must be set and
// the others have those of BesideLists.
func Group(schedules []*ir.Schedule, cfg Config) (*Kernel, error) {
	for _, s := range schedules {
		lists := len(s.Lists()) > 0
		tile, err := TileFor(cfg.Target, cfg.HeadDim, lists)
		if err == nil && cfg.BesideLists && !lists {
			tile, _, err = BesideLists(cfg.Target, cfg.HeadDim)
		}
		if err == nil {
			err = checkTile(s, tile, cfg)
		}
		if err == nil && lists && !cfg.BesideLists {
			err = fmt.Errorf("internal: schedule %s has lists, in a group for ranges", s.Name)
		}
		if err != nil {
			return nil, err
		}
	}
	b, err := backendFor(cfg.Target)
	if err != nil {
		return nil, err
	}
	return b.group(schedules, cfg)
}

// CheckLists refuses, with an *ir.Unsupported, a schedule with lists that no target has kernels for.
func CheckLists(s *ir.Schedule) error { return lower.CheckLists(s) }

// checkTile says whether a schedule is cut to a tile, and whether its data type is known.
func checkTile(s *ir.Schedule, tile ir.Tile, cfg Config) error {
	if cfg.DType != BF16 && cfg.DType != F16 {
		return fmt.Errorf("data type %q is not supported: want bf16 or f16", cfg.DType)
	}
	if s.Tile != tile {
		return fmt.Errorf("internal: schedule %s is cut to %dx%d tiles, %s wants %dx%d for head dim %d",
			s.Name, s.Tile.Rows, s.Tile.Keys, cfg.Target, tile.Rows, tile.Keys, cfg.HeadDim)
	}
	return nil
}

// Attention lowers a verified schedule to the flash-attention forward kernel of cfg.Target.
func Attention(s *ir.Schedule, cfg Config) (*Kernel, error) {
	tile, err := TileFor(cfg.Target, cfg.HeadDim, len(s.Lists()) > 0)
	if err != nil {
		return nil, err
	}
	if err := checkTile(s, tile, cfg); err != nil {
		return nil, err
	}
	b, err := backendFor(cfg.Target)
	if err != nil {
		return nil, err
	}
	return b.attention(s, cfg)
}
