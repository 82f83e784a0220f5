// Package codegen lowers a schedule to LLVM IR in NVVM style, one kernel at a time. It does not know the language.
//
// Shared parts are in lower; each GPU generation has a package of its own.
package codegen

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/codegen/lower"
	"github.com/minfc/minfc/codegen/sm80"
	"github.com/minfc/minfc/codegen/sm90"
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

// backend is one GPU generation.
type backend struct {
	target    string
	tile      func(headDim int) ir.Tile // of schedules of ranges alone
	listTile  func(headDim int) ir.Tile // of schedules with lists of what the data chose
	attention func(*ir.Schedule, Config) (*Kernel, error)
}

// Older ones first.
var backends = []backend{
	{"sm_80", sm80.TileFor, sm80.ListTileFor, sm80.Attention},
	{"sm_90a", sm90.TileFor, sm90.ListTileFor, sm90.Attention},
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

// Attention lowers a verified schedule to the flash-attention forward kernel of cfg.Target.
func Attention(s *ir.Schedule, cfg Config) (*Kernel, error) {
	tile, err := TileFor(cfg.Target, cfg.HeadDim, len(lower.Lists(s)) > 0)
	if err != nil {
		return nil, err
	}
	if cfg.DType != BF16 && cfg.DType != F16 {
		return nil, fmt.Errorf("data type %q is not supported: want bf16 or f16", cfg.DType)
	}
	if s.Tile != tile {
		return nil, fmt.Errorf("internal: schedule %s is cut to %dx%d tiles, %s wants %dx%d for head dim %d",
			s.Name, s.Tile.Rows, s.Tile.Keys, cfg.Target, tile.Rows, tile.Keys, cfg.HeadDim)
	}
	b, err := backendFor(cfg.Target)
	if err != nil {
		return nil, err
	}
	return b.attention(s, cfg)
}
