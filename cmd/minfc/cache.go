package main

import (
	"github.com/minfc/minfc/internal/cache"
	"github.com/minfc/minfc/internal/console"
)

type cacheCmd struct {
	Show  cacheShowCmd  `cmd:"" default:"withargs" help:"Print what was compiled and is kept for the next start: folder, files, limit, and why nothing is kept."`
	Clear cacheClearCmd `cmd:"" help:"Remove what is kept. Files of others in the folder stay."`
}

type cacheShowCmd struct {
	JSON bool `name:"json" help:"Print it as JSON."`
}

// Run prints the cache of the environment; one that is off is no failure.
func (c *cacheShowCmd) Run(out *console.Console) error {
	s := cache.DefaultStatus()
	if !c.JSON {
		return s.Write(out.Out)
	}
	data, err := s.JSON()
	return writeJSON(out, data, err)
}

type cacheClearCmd struct {
	JSON bool `name:"json" help:"Print what was removed as JSON."`
}

// Run clears the cache; one that is off has nothing to clear.
func (c *cacheClearCmd) Run(out *console.Console) error {
	removed, err := cache.Default().Clear()
	if err != nil {
		return err
	}
	if !c.JSON {
		out.Printf("removed %s\n", removed)
		return nil
	}
	data, err := removed.JSON()
	return writeJSON(out, data, err)
}
