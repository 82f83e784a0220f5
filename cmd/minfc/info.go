package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/files"
	"github.com/minfc/minfc/internal/findings"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/internal/suggest"
)

type checkCmd struct {
	Set   []setting `sep:"none" placeholder:"NAME=VALUE" help:"Value of a const parameter, for the patterns that have it. May be repeated."`
	Files []string  `arg:"" name:"file" help:"Pattern files, or names of library patterns."`
	JSON  bool      `name:"json" help:"Print what was found as JSON."`
}

// Run reports on all files before it fails.
func (c *checkCmd) Run(a *app) error {
	consts, err := values(c.Set)
	if err != nil {
		return err
	}
	bad := 0
	var found []findings.File
	for _, name := range c.Files {
		f, err := a.check(name, consts, c.JSON)
		if err != nil && !c.JSON {
			report(a.err, err)
		}
		if err != nil {
			bad++
		}
		found = append(found, f)
	}
	if c.JSON {
		data, err := findings.JSON(found)
		if err != nil {
			return bug(err)
		}
		if err := write(a, "-", data); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d files have errors", bad, len(c.Files))
	}
	return nil
}

// check checks one file, and prints what it found unless it is quiet.
func (a *app) check(name string, consts map[string]int64, quiet bool) (findings.File, error) {
	in, err := source(name)
	if err != nil {
		return findings.Of(name, nil, nil, nil, err), err
	}
	f, patterns, err := compile.Check(in.Name, in.Source, consts)
	if err != nil {
		return findings.Of(in.Name, in.Source, nil, nil, err), err
	}
	var names []string
	for _, p := range patterns {
		names = append(names, p.Name)
	}
	if !quiet {
		if len(f.Warnings) > 0 {
			a.note("%s", strings.TrimRight(dsl.Render(in.Name, in.Source, f.Warnings), "\n"))
		}
		a.out.printf("%s: ok, %s\n", in.Name, strings.Join(names, ", "))
	}
	return findings.Of(in.Name, in.Source, names, f.Warnings, nil), nil
}

// source reads a FILE that must be source text.
func source(name string) (*input.File, error) {
	in, err := input.Read(name)
	if err == nil && in.Artifact != nil {
		return nil, fmt.Errorf("%s: a compiled artifact, want the source of a pattern", name)
	}
	return in, err
}

type fmtCmd struct {
	Write bool     `short:"w" help:"Rewrite the files instead of printing."`
	Files []string `arg:"" name:"file" help:"Pattern files, or names of library patterns."`
}

func (c *fmtCmd) Run(a *app) error {
	for _, name := range c.Files {
		in, err := source(name)
		if err != nil {
			return err
		}
		f, err := dsl.Parse(in.Name, in.Source)
		if err != nil {
			return err
		}
		switch text := dsl.Format(f); {
		case !c.Write:
			a.out.printf("%s", text)
		case in.Path == "":
			return usagef("-w cannot rewrite the library pattern %s", name)
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

func (c *explainCmd) Run(a *app) error {
	text, ok := dsl.Explain(strings.ToUpper(c.Code))
	if !ok {
		var codes []string
		for _, k := range dsl.Codes {
			codes = append(codes, k.Code)
		}
		return fmt.Errorf("no diagnostic has the code %s%s", c.Code, suggest.Hint(strings.ToUpper(c.Code), codes))
	}
	a.out.printf("%s\n", strings.TrimRight(text, "\n"))
	return nil
}
