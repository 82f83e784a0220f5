package main

import (
	"slices"

	"github.com/alecthomas/kong"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/completion"
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/internal/library"
	"github.com/minfc/minfc/internal/version"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/passes"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/runtime/device"
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

// names are what the grammar of the command line does not list.
func names() completion.Names {
	values := map[string][]string{
		"target": append([]string{compile.TargetAuto}, compile.Targets()...), "dtype": dtypeNames, "device": append([]string{"auto"}, device.Drivers()...),
		"emit": compile.Forms, "machine": nil, "print-after": {"all"},
	}
	for _, k := range workload.Kinds() {
		values["kind"], values["workload"] = append(values["kind"], string(k)), append(values["workload"], string(k))
	}
	for _, m := range cost.Machines() {
		if !slices.Contains(values["machine"], m.Name) {
			values["machine"] = append(values["machine"], m.Name)
		}
	}
	for _, p := range passes.Table() {
		values["print-after"] = append(values["print-after"], p.Name)
	}
	return completion.Names{Patterns: patterns.Names(), Takers: []string{"run", "compile", "bench", "check", "fmt"}, Values: values}
}

// Run prints a script for the shell to read at its start.
func (c *completionCmd) Run(a *app, k *kong.Kong) error {
	script, err := completion.Script(c.Shell, k.Model, names())
	a.out.printf("%s", script)
	return err
}

type versionCmd struct{}

func (c *versionCmd) Run(a *app) error {
	a.out.printf("%s\n", version.Text())
	return nil
}
