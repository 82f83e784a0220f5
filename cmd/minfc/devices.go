package main

import (
	"github.com/minfc/minfc/internal/console"
	"github.com/minfc/minfc/internal/devicelist"
)

type devicesCmd struct {
	JSON bool `name:"json" help:"Print the list as JSON."`
}

// Run lists the devices of every driver; a driver without devices says why on standard error and is no failure.
func (c *devicesCmd) Run(out *console.Console) error {
	list := devicelist.List(func(driver string, err error) { out.Note("%s: %v", driver, err) })
	if !c.JSON {
		return devicelist.Write(out.Out, list)
	}
	data, err := devicelist.JSON(list)
	return writeJSON(out, data, err)
}
