package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/codegen"
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/passes"
	"github.com/minfc/minfc/patterns"
)

// measurement is one timed kernel of ours.
type measurement struct {
	name   string // pattern and parameters
	work   cost.Work
	counts *cost.Counts
	ms     float64
}

// read reads the rows of our own kernels for a target from a file that bench/interleave.py wrote.
func read(file, target string) ([]measurement, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var report struct {
		Rows []struct {
			Case   string  `json:"case"` // pattern:seqlen:heads:kvheads:headdim:dtype:files[:params]
			Kernel string  `json:"kernel"`
			MS     float64 `json:"ms"`
		} `json:"rows"`
	}
	if err := json.Unmarshal(data, &report); err != nil {
		return nil, err
	}
	var out []measurement
	for _, r := range report.Rows {
		if r.MS == 0 || !strings.HasSuffix(r.Kernel, ".minf") || isForAnother(r.Kernel, target) {
			continue
		}
		m, err := parse(r.Case, target)
		if err != nil {
			return nil, fmt.Errorf("case %q: %w", r.Case, err)
		}
		m.ms = r.MS
		out = append(out, m)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no timed kernel of ours for %s", target)
	}
	return out, nil
}

// isForAnother says whether a kernel's folder is named like another target.
func isForAnother(kernel, target string) bool {
	folder := filepath.Base(filepath.Dir(kernel))
	return folder != target && slices.Contains(codegen.Targets(), folder)
}

func tileRatios(rows []measurement) ratios {
	return func(m cost.Machine) (out []float64, err error) {
		for _, x := range rows {
			p, err := m.Price(x.counts)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", x.name, err)
			}
			out = append(out, p.Milliseconds/x.ms)
		}
		return out, nil
	}
}

// parse makes the work of a case: pattern:seqlen:heads:kvheads:headdim:dtype:files[:name=value,...].
func parse(text, target string) (measurement, error) {
	part := strings.Split(text, ":")
	if len(part) < 7 {
		return measurement{}, fmt.Errorf("it has %d parts, want at least 7", len(part))
	}
	n := numbers{}
	seq := n.parse(part[1])
	w := cost.Work{Batch: 1, QHeads: n.parse(part[2]), KVHeads: n.parse(part[3]), HeadDim: n.parse(part[4]), DType: abi.DType(part[5]), SeqQ: seq,
		SeqK: seq}
	m := measurement{name: part[0]}
	if len(part) > 7 {
		m.name += " " + part[7]
		w.Params = map[string]int64{}
		for _, s := range strings.Split(part[7], ",") {
			name, value, _ := strings.Cut(s, "=")
			w.Params[name] = int64(n.parse(value))
		}
	}
	if n.err != nil {
		return m, n.err
	}
	if err := schedule(&w, part[0], target); err != nil {
		return m, err
	}
	m.work = w
	var err error
	m.counts, err = cost.Count(w)
	return m, err
}

// schedule compiles a library pattern as far as its schedule.
func schedule(w *cost.Work, pattern, target string) error {
	file, src, ok := patterns.Source(pattern)
	if !ok {
		return fmt.Errorf("the library has no pattern %q", pattern)
	}
	p, err := compile.Load(file, src, pattern, nil)
	if err != nil {
		return err
	}
	tile, err := codegen.TileFor(target, w.HeadDim)
	if err != nil {
		return err
	}
	if w.Schedule, err = passes.Run(p.Pattern, passes.Options{Tile: tile}); err != nil {
		return err
	}
	w.RowTile, w.KeyTile = w.Schedule.Tile.Rows, w.Schedule.Tile.Keys
	return nil
}

// numbers parses and keeps the first error.
type numbers struct{ err error }

func (n *numbers) parse(s string) int {
	v, err := strconv.Atoi(s)
	if n.err == nil {
		n.err = err
	}
	return v
}
