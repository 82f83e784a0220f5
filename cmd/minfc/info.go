package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/console"
	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/files"
	"github.com/minfc/minfc/internal/findings"
	"github.com/minfc/minfc/internal/flags"
	"github.com/minfc/minfc/internal/input"
)

type checkCmd struct {
	Set   []flags.Setting `sep:"none" placeholder:"NAME=VALUE" help:"Value of a const parameter, for the patterns that have it. May be repeated."`
	Files []string        `arg:"" name:"file" help:"Pattern files, or names of library patterns."`
	JSON  bool            `name:"json" help:"Print what was found as JSON."`
}

// Run reports on all files before it fails.
func (c *checkCmd) Run(out *console.Console) error {
	consts, err := flags.Values(c.Set)
	if err != nil {
		return err
	}
	bad := 0
	var found []findings.File
	for _, name := range c.Files {
		f, warnings, err := findings.Check(name, consts)
		if err != nil {
			bad++
		}
		found = append(found, f)
		switch {
		case c.JSON:
		case err != nil:
			failure.Report(out.Err, err)
		default:
			if warnings != "" {
				out.Note("%s", warnings)
			}
			out.Printf("%s: ok, %s\n", f.Name, strings.Join(f.Patterns, ", "))
		}
	}
	if c.JSON {
		data, err := findings.JSON(found)
		if err := writeJSON(out, data, err); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d files have errors", bad, len(c.Files))
	}
	return nil
}

type fmtCmd struct {
	Write bool     `short:"w" help:"Rewrite the files instead of printing."`
	Files []string `arg:"" name:"file" help:"Pattern files, or names of library patterns."`
}

func (c *fmtCmd) Run(out *console.Console) error {
	for _, name := range c.Files {
		in, err := input.ReadSource(name)
		if err != nil {
			return err
		}
		f, err := dsl.Parse(in.Name, in.Source)
		if err != nil {
			return err
		}
		switch text := dsl.Format(f); {
		case !c.Write:
			out.Printf("%s", text)
		case in.Path == "":
			return failure.Usagef("-w cannot rewrite the library pattern %s", name)
		case !slices.Equal(text, in.Source):
			if err := files.Write(in.Path, text); err != nil {
				return err
			}
		}
	}
	return nil
}

type explainCmd struct {
	Code string `arg:"" help:"Code of a diagnostic, such as E0203."`
}

func (c *explainCmd) Run(out *console.Console) error {
	text, err := findings.Explain(c.Code)
	if err != nil {
		return err
	}
	out.Printf("%s\n", text)
	return nil
}
