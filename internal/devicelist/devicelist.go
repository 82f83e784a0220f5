// Package devicelist says what devices there are and what runs on each, as a table and as JSON.
package devicelist

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/runtime/device"
)

// Device is a device and what it runs with its driver.
type Device struct {
	Device            string   `json:"device"` // as --device takes it, "cuda:0"
	Name              string   `json:"name"`
	ComputeCapability string   `json:"compute_capability"`       // "9.0"
	DriverVersion     string   `json:"driver_version,omitempty"` // newest CUDA version that the driver serves; none of the emulator
	MemoryBytes       uint64   `json:"memory_bytes"`
	SharedBytes       int      `json:"shared_bytes_per_block"`
	Multiprocessors   int      `json:"multiprocessors"`
	L2Bytes           int      `json:"l2_bytes"`
	Best              string   `json:"best_target,omitempty"` // what --target auto means there; none if nothing runs
	Targets           []Target `json:"targets"`               // older ones first

	text string // what runs, for the table
}

// Target is one GPU generation that minfc compiles for, on a device.
type Target struct {
	Target string `json:"target"`
	Runs   bool   `json:"runs"`
	Why    string `json:"why_not,omitempty"`
}

// Of describes a device.
func Of(i device.Info) Device {
	d := Device{
		Device: fmt.Sprintf("%s:%d", i.Driver, i.Ordinal), Name: i.Name, ComputeCapability: fmt.Sprintf("%d.%d", i.Major, i.Minor),
		DriverVersion: i.DriverVersion, MemoryBytes: i.MemoryBytes, SharedBytes: i.MaxSharedBytes, Multiprocessors: i.Multiprocessors, L2Bytes: i.L2Bytes,
	}
	for _, target := range compile.Targets() {
		t := Target{Target: target}
		if err := compile.Runs(i, target); err != nil {
			t.Why = err.Error()
		} else {
			t.Runs = true
		}
		d.Targets = append(d.Targets, t)
	}
	best, passed, err := compile.TargetOn(i)
	d.Best = best
	switch {
	case err != nil:
		d.text = fmt.Sprintf("runs nothing: %v", err)
	case passed != nil:
		d.text = fmt.Sprintf("runs %s code: %v", best, passed)
	default:
		d.text = fmt.Sprintf("runs %s code", best)
	}
	return d
}

// List describes the devices of all drivers. report is told why a driver has none.
func List(report func(driver string, err error)) []Device {
	out := []Device{} // not nil, which JSON would call null
	for _, driver := range device.Drivers() {
		infos, err := device.Devices(driver)
		if err != nil {
			report(driver, err)
		}
		for _, i := range infos {
			out = append(out, Of(i))
		}
	}
	return out
}

// Write prints a line for each device.
func Write(w io.Writer, list []Device) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, d := range list {
		driver := ""
		if d.DriverVersion != "" {
			driver = "\tdriver of CUDA " + d.DriverVersion
		}
		fmt.Fprintf(t, "%s\t%s\tcompute capability %s\t%d multiprocessors\t%.1f GB\t%d KB shared a block%s\t%s\n", d.Device, d.Name, d.ComputeCapability,
			d.Multiprocessors, float64(d.MemoryBytes)/1e9, d.SharedBytes>>10, driver, d.text)
	}
	return t.Flush()
}

// JSON is the list as JSON.
func JSON(list []Device) ([]byte, error) {
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("internal: list of devices: %w", err)
	}
	return append(text, '\n'), nil
}
