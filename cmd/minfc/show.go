package main

import (
	"github.com/minfc/minfc/internal/console"
	"github.com/minfc/minfc/internal/flags"
	"github.com/minfc/minfc/internal/show"
)

type showCmd struct {
	File    string          `arg:"" help:"Pattern file, or the name of a library pattern."`
	Pattern string          `short:"p" help:"Pattern of the file; not needed when it has only one."`
	SeqLen  flags.Count     `name:"seqlen" default:"4k" placeholder:"4k" help:"Length of the picture, the tiles and the times, in tokens, up to 1m; k is 1024 and m 1048576. Default: 4k."`
	Set     []flags.Setting `sep:"none" placeholder:"NAME=VALUE" help:"Value of a parameter. May be repeated."`
	JSON    bool            `name:"json" help:"Print what there is to see as JSON."`
}

// Run shows a pattern without launching anything.
func (c *showCmd) Run(out *console.Console) error {
	set, err := flags.Values(c.Set)
	if err != nil {
		return err
	}
	report, err := show.Make(show.Request{File: c.File, Pattern: c.Pattern, SeqLen: int(c.SeqLen), Set: set})
	if err != nil {
		return err
	}
	if !c.JSON {
		return report.Write(out.Out)
	}
	data, err := report.JSON()
	return writeJSON(out, data, err)
}
