package main

import "github.com/minfc/minfc/internal/devicelist"

type devicesCmd struct {
	JSON bool `name:"json" help:"Print the list as JSON."`
}

// Run lists the devices of every driver; a driver without devices says why on standard error and is no failure.
func (c *devicesCmd) Run(a *app) error {
	list := devicelist.List(func(driver string, err error) { a.note("%s: %v", driver, err) })
	if !c.JSON {
		return devicelist.Write(a.out, list)
	}
	data, err := devicelist.JSON(list)
	if err != nil {
		return bug(err)
	}
	return write(a, "-", data)
}
