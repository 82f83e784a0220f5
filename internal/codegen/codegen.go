// Package codegen lowers a schedule to LLVM IR in NVVM style, one kernel at a time. It does not know the language.
//
// Each GPU generation is a [Backend], with a package of its own; what they share is in lower.
package codegen

import (
	"errors"
	"fmt"

	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// The description of a kernel is shared with the backends.
type (
	Config = lower.Config
	Kernel = lower.Kernel
	Param  = lower.Param

	Grouping = lower.Grouping
)

// TileFor returns what says, for a target and head dim, to which tile a schedule is cut. The passes ask it.
func TileFor(target string, headDim int) (func(*ir.Schedule) ir.Tile, error) {
	b, err := backendFor(target, headDim)
	if err != nil {
		return nil, err
	}
	return func(s *ir.Schedule) ir.Tile { return b.Tile(s, headDim) }, nil
}

// CheckLists refuses, with an *ir.Unsupported, a schedule with lists that no target has kernels for.
func CheckLists(s *ir.Schedule) error { return lower.CheckLists(s) }

// Attention lowers a verified schedule, cut to what TileFor says, to the flash-attention forward kernel of cfg.Target.
func Attention(s *ir.Schedule, cfg Config) (*Kernel, error) {
	b, err := backendOf(cfg)
	if err != nil {
		return nil, err
	}
	if err := checkTile(s, b.Tile(s, cfg.HeadDim), cfg); err != nil {
		return nil, err
	}
	return b.Attention(s, cfg)
}

// Groups decides how the schedules of a layer, each verified and cut to what TileFor says, are put into kernels: attention for all heads of
// the layer in one launch.
func Groups(schedules []*ir.Schedule, cfg Config) ([]Grouping, error) {
	b, err := backendOf(cfg)
	if err != nil {
		return nil, err
	}
	for _, s := range schedules {
		if err := checkTile(s, b.Tile(s, cfg.HeadDim), cfg); err != nil {
			return nil, err
		}
	}
	return b.Groups(schedules, cfg.HeadDim), nil
}

// Group lowers the schedules of g, verified and cut to its tiles, to a kernel with a section for each in their order: or to several kernels
// of some neighbours each, where the parameters of all do not fit one launch.
func Group(schedules []*ir.Schedule, g Grouping, cfg Config) ([]*Kernel, error) {
	b, err := backendOf(cfg)
	if err != nil {
		return nil, err
	}
	for i, s := range schedules {
		if err := checkTile(s, g.Tiles[i], cfg); err != nil {
			return nil, err
		}
		if len(s.Lists()) > 0 && !g.Lists {
			return nil, fmt.Errorf("internal: schedule %s has lists, in a group for ranges", s.Name)
		}
	}
	return halves(b, schedules, g.Lists, cfg)
}

// halves lowers schedules to one kernel, or each half of them in turn.
func halves(b Backend, schedules []*ir.Schedule, lists bool, cfg Config) ([]*Kernel, error) {
	kernel, err := b.Group(schedules, lists, cfg)
	if err == nil {
		return []*Kernel{kernel}, nil
	}
	if !errors.Is(err, lower.ErrParams) || len(schedules) == 1 {
		return nil, err
	}
	half := len(schedules) / 2
	first, err := halves(b, schedules[:half], lists, cfg)
	if err != nil {
		return nil, err
	}
	rest, err := halves(b, schedules[half:], lists, cfg)
	return append(first, rest...), err
}

// backendOf is the backend of a configuration that it has kernels for.
func backendOf(cfg Config) (Backend, error) {
	if err := cfg.DType.Check(); err != nil {
		return nil, err
	}
	return backendFor(cfg.Target, cfg.HeadDim)
}

// checkTile says whether a schedule is cut to a tile.
func checkTile(s *ir.Schedule, tile ir.Tile, cfg Config) error {
	if s.Tile != tile {
		return fmt.Errorf("internal: schedule %s is cut to %dx%d tiles, %s wants %dx%d for head dim %d",
			s.Name, s.Tile.Rows, s.Tile.Keys, cfg.Target, tile.Rows, tile.Keys, cfg.HeadDim)
	}
	return nil
}
