package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/minfc/minfc/internal/cost"
)

// machine is the GPU whose rates are fitted.
const machine = "H200"

// target is the code of one GPU generation: where its measurements are, and which rates they decide.
type target struct {
	name    string // as cost.Machine has it
	speed   string // file of static patterns, from bench/interleave.py
	rates   string // variables of package cost
	lists   string
	tiles   []coefficient[cost.Rates]
	entries []coefficient[cost.ListRates]
}

// coefficient is a rate that measurements decide, where its fit starts, and what the hardware does not allow (0: nothing).
type coefficient[T any] struct {
	name    string
	of      func(*T) *float64
	start   float64
	floor   float64
	ceiling float64
}

// What the matrix units of one multiprocessor do at the most: mma.sync as minfc bench measures it, 650 TFLOP/s on 132 of them, and wgmma
// by the data sheet.
const (
	mmaTFLOPS   = 4.92
	wgmmaTFLOPS = 7.49
)

// Starts follow from what is known of the hardware at 1.75 GHz. For mma.sync: 62% of the wgmma peak on each of 132
// multiprocessors, and an ldmatrix.x4 of four cycles, half of it hidden; for wgmma: what a large matrix product reaches at the
// card's power limit, its operands read from shared memory by themselves. A sixteenth of a cycle for an exponential and four and
// a half instructions on 128 lanes for the rest of a pair's softmax. The others are of the size that prototypes showed.
var targets = []target{
	{
		name: "sm_80", speed: "sm80_speed.json", rates: "h200sm80", lists: "h200lists80",
		tiles: []coefficient[cost.Rates]{
			{"TensorTFLOPS", func(r *cost.Rates) *float64 { return &r.TensorTFLOPS }, 4.7, 0, mmaTFLOPS},
			{"LoadNanos", func(r *cost.Rates) *float64 { return &r.LoadNanos }, 1.2, 0, 0},
			{"SoftmaxPicos", func(r *cost.Rates) *float64 { return &r.SoftmaxPicos }, 56, 0, 0},
			{"MaskPicos", func(r *cost.Rates) *float64 { return &r.MaskPicos }, 15, 0, 0},
			{"TileNanos", func(r *cost.Rates) *float64 { return &r.TileNanos }, 150, 0, 0},
			{"RowNanos", func(r *cost.Rates) *float64 { return &r.RowNanos }, 700, 0, 0},
			{"Overlap", func(r *cost.Rates) *float64 { return &r.Overlap }, 3, 1, 0},
		},
		entries: append(listCoefficients(1500), coefficient[cost.ListRates]{"SlotNanos",
			func(r *cost.ListRates) *float64 { return &r.SlotNanos }, 10, 0, 0}),
	},
	{
		name: "sm_90a", speed: "sm90_speed.json", rates: "h200sm90", lists: "h200lists90",
		tiles: []coefficient[cost.Rates]{
			{"TensorTFLOPS", func(r *cost.Rates) *float64 { return &r.TensorTFLOPS }, 6, 0, wgmmaTFLOPS},
			{"SoftmaxPicos", func(r *cost.Rates) *float64 { return &r.SoftmaxPicos }, 56, 0, 0},
			{"MaskPicos", func(r *cost.Rates) *float64 { return &r.MaskPicos }, 15, 0, 0},
			{"TileNanos", func(r *cost.Rates) *float64 { return &r.TileNanos }, 100, 0, 0},
			{"RowNanos", func(r *cost.Rates) *float64 { return &r.RowNanos }, 1500, 0, 0},
			{"Overlap", func(r *cost.Rates) *float64 { return &r.Overlap }, 3, 1, 0},
		},
		entries: listCoefficients(1000),
	},
}

func listCoefficients(row float64) []coefficient[cost.ListRates] {
	return []coefficient[cost.ListRates]{
		{"BlockFactor", func(r *cost.ListRates) *float64 { return &r.BlockFactor }, 1, 0, 0},
		{"RunFactor", func(r *cost.ListRates) *float64 { return &r.RunFactor }, 1, 0, 0},
		{"ColumnFactor", func(r *cost.ListRates) *float64 { return &r.ColumnFactor }, 1, 0, 0},
		{"RowNanos", func(r *cost.ListRates) *float64 { return &r.RowNanos }, row, 0, 0},
	}
}

// fitting is one target, its measurements and the machine that they give. Without measurements the machine is as committed.
type fitting struct {
	target
	machine cost.Machine
	rows    []measurement
	unseen  []float64 // of each row: the relative error of rates that were fitted to the other rows
	lists   []listed
}

// load reads the measurements of a target and fits its rates to them. A file that is not there has none.
func load(folder string, t target) (fitting, error) {
	f := fitting{target: t}
	var err error
	if f.machine, err = committed(t.name); err != nil {
		return f, err
	}
	speed := filepath.Join(folder, t.speed)
	if f.rows, err = read(speed, t.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, fmt.Errorf("%s: %w", speed, err)
	}
	if f.lists, err = readLists(folder, t.name); err != nil {
		return f, err
	}
	if len(f.rows) > 0 {
		if f.machine, err = f.fitTiles(); err != nil {
			return f, err
		}
		if f.unseen, err = f.leaveOneOut(); err != nil {
			return f, err
		}
	}
	if len(f.lists) > 0 {
		f.machine, err = f.fitLists()
	}
	return f, err
}

// fitTiles is the machine with rates that fit the rows, rounded as they are written.
func (f fitting) fitTiles() (cost.Machine, error) {
	m := f.machine
	m.Rates = cost.Rates{}
	return fitRates(m, f.tiles, func(m *cost.Machine) *cost.Rates { return &m.Rates }, tileRatios(f.rows))
}

// fitLists does the same for kernels with lists, whose slots are priced by the machine's other rates.
func (f fitting) fitLists() (cost.Machine, error) {
	m := f.machine
	m.Lists = cost.ListRates{}
	return fitRates(m, f.entries, func(m *cost.Machine) *cost.ListRates { return &m.Lists }, listRatios(f.lists))
}

// committed is the machine as package cost has it.
func committed(name string) (cost.Machine, error) {
	for _, m := range cost.Machines() {
		if m.Name == machine && m.Target == name {
			return m, nil
		}
	}
	return cost.Machine{}, fmt.Errorf("internal: no machine %s with %s code", machine, name)
}

// loadAll fits every target.
func loadAll(folder string) ([]fitting, error) {
	if _, err := os.Stat(folder); err != nil {
		return nil, err
	}
	var out []fitting
	for _, t := range targets {
		f, err := load(folder, t)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}
