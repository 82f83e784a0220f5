package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/minfc/minfc/internal/bench"
	"github.com/minfc/minfc/internal/cost"
)

// listed is one measurement of a pattern that data decides.
type listed struct {
	row     bench.Row
	call    bench.Call
	planted bool
	lists   string // where they come from
}

// readLists reads the rows of a target's code from the folder's reports of such patterns. Where heads ran dense, the time says
// nothing about lists, and a row that chose nothing, such as the dense kernel beside the others, has none.
func readLists(folder, target string) ([]listed, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*_dynamic_*.json"))
	if err != nil {
		return nil, err
	}
	var out []listed
	for _, file := range files {
		r, err := bench.ReadReport(file)
		if err != nil {
			return nil, err
		}
		for _, x := range r.Rows {
			if !r.Workload.Planted && x.IndexMS == 0 {
				continue
			}
			if x.Implementation == "minfc "+target && x.Failure == "" && x.Tiles != nil && x.DenseHeads == 0 {
				out = append(out, listed{x, r.Call, r.Workload.Planted, listsOf(r.Workload)})
			}
		}
	}
	return out, nil
}

// heads of all batches.
func (x listed) heads() float64 { return float64(x.call.Batch * x.call.QHeads) }

func (x listed) rowBlocks() float64 { return float64((x.row.SeqLen + 63) / 64) }

// firstColumns is how many columns at the start vertical_slash forces.
const firstColumns = 30

// columnSlots is about how many of the tiles hold columns: the columns at the start, and the others anywhere.
func (x listed) columnSlots() (slots float64) {
	n := int(x.row.Params["vertical"])
	if n == 0 {
		return 0
	}
	blocks := (x.row.SeqLen + 63) / 64
	for t := range blocks {
		here := min(n, firstColumns) + max(0, n-firstColumns)*(t+1)/blocks
		slots += float64((here+63)/64) * x.heads()
	}
	return min(slots, float64(*x.row.Tiles))
}

// millis is the price of the attention kernel.
func (x listed) millis(m cost.Machine) (float64, error) {
	p, err := m.ListPrices(x.call.HeadDim, x.row.Pattern == "block_sparse")
	columns := x.columnSlots()
	nanos := (float64(*x.row.Tiles)-columns)*p.Slot + columns*p.Column + x.heads()*x.rowBlocks()*p.Row
	return nanos / float64(m.Multiprocessors) / 1e6, err
}

func listRatios(rows []listed) ratios {
	return func(m cost.Machine) (out []float64, err error) {
		for _, x := range rows {
			ms, err := x.millis(m)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", x.row.Label(), err)
			}
			out = append(out, ms/x.row.AttentionMS)
		}
		return out, nil
	}
}

func listsOf(w bench.Workload) string {
	if w.Planted {
		return strings.TrimSpace("planted " + string(w.PlantedBlocks))
	}
	return "chosen from " + w.Kind
}
