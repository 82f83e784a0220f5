package main

import (
	"github.com/alecthomas/kong"

	"github.com/minfc/minfc/internal/completion"
	"github.com/minfc/minfc/internal/library"
	"github.com/minfc/minfc/internal/version"
	"github.com/minfc/minfc/patterns"
)

type listCmd struct {
	JSON bool `name:"json" help:"Print the list as JSON."`
}

// Run describes the patterns of the library.
func (c *listCmd) Run(a *app) error {
	list, err := library.List()
	if err != nil {
		return bug(err)
	}
	if !c.JSON {
		return library.Write(a.out, list)
	}
	data, err := library.JSON(list)
	if err != nil {
		return bug(err)
	}
	return write(a, "-", data)
}

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// takers are the commands that take names of library patterns.
var takers = []string{"run", "compile", "bench", "check", "fmt"}

// Run prints a script for the shell to read at its start.
func (c *completionCmd) Run(a *app, k *kong.Kong) error {
	script, err := completion.Script(c.Shell, k.Model, patterns.Names(), takers)
	a.out.printf("%s", script)
	return err
}

type versionCmd struct{}

func (c *versionCmd) Run(a *app) error {
	a.out.printf("%s\n", version.Text())
	return nil
}
