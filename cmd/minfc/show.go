package main

import (
	"errors"

	"github.com/minfc/minfc/internal/console"
	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/files"
	"github.com/minfc/minfc/internal/flags"
	"github.com/minfc/minfc/internal/show"
)

type showCmd struct {
	File    string          `arg:"" help:"Pattern file, or the name of a library pattern."`
	Pattern string          `short:"p" help:"Pattern of the file; not needed when it has only one."`
	SeqLen  flags.Count     `name:"seqlen" default:"4k" placeholder:"4k" help:"Length of the picture, the tiles and the times, in tokens, up to 1m; k is 1024 and m 1048576. Default: 4k."`
	Set     []flags.Setting `sep:"none" placeholder:"NAME=VALUE" help:"Value of a parameter. May be repeated."`
	Tile    []int           `placeholder:"R,C" help:"Say why row tile R and key tile C, from 0, are full, partial or empty together, and which set decides."`
	Plot    string          `placeholder:"F.svg" help:"Draw the picture as SVG or PNG as well, cells the deeper the more of their pairs are kept."`
	JSON    bool            `name:"json" help:"Print what there is to see as JSON."`
}

// Run shows a pattern without launching anything.
func (c *showCmd) Run(out *console.Console) error {
	set, err := flags.Values(c.Set)
	if err != nil {
		return err
	}
	request := show.Request{File: c.File, Pattern: c.Pattern, SeqLen: int(c.SeqLen), Set: set}
	switch len(c.Tile) {
	case 0:
	case 2:
		request.Tile = &[2]int{c.Tile[0], c.Tile[1]}
	default:
		return failure.Usagef("--tile has %d numbers, want a row tile and a key tile, such as --tile 5,1", len(c.Tile))
	}
	if c.Plot != "" {
		if err := errors.Join(show.CheckPlot(c.Plot), files.Distinct([]string{c.File}, []string{c.Plot})); err != nil {
			return failure.Usage(err)
		}
	}
	report, err := show.Make(request)
	if err != nil {
		return err
	}
	if c.Plot != "" {
		data, err := report.Plot(c.Plot)
		if err != nil {
			return err
		}
		if err := out.Write(c.Plot, data); err != nil {
			return err
		}
	}
	if !c.JSON {
		return report.Write(out.Out)
	}
	data, err := report.JSON()
	return writeJSON(out, data, err)
}
