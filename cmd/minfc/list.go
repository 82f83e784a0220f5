package main

import (
	"github.com/alecthomas/kong"

	"github.com/minfc/minfc/internal/completion"
	"github.com/minfc/minfc/internal/console"
	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/flags"
	"github.com/minfc/minfc/internal/library"
	"github.com/minfc/minfc/internal/version"
	"github.com/minfc/minfc/patterns"
)

type listCmd struct {
	JSON bool `name:"json" help:"Print the list as JSON."`
}

// Run describes the patterns of the library.
func (c *listCmd) Run(out *console.Console) error {
	list, err := library.List()
	if err != nil {
		return failure.Bug(err)
	}
	if !c.JSON {
		return library.Write(out.Out, list)
	}
	data, err := library.JSON(list)
	return writeJSON(out, data, err)
}

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Run prints a script for the shell to read at its start.
func (c *completionCmd) Run(out *console.Console, k *kong.Kong) error {
	names := completion.Names{Patterns: patterns.Names(), Takers: []string{"run", "compile", "bench", "show", "check", "fmt"}, Values: flags.Words()}
	script, err := completion.Script(c.Shell, k.Model, names)
	out.Printf("%s", script)
	return err
}

type versionCmd struct{}

func (c *versionCmd) Run(out *console.Console) error {
	out.Printf("%s\n", version.Text())
	return nil
}
