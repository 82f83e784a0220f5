package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/minfc/minfc/internal/bench"
)

// measured writes the section of one report. Peers have none of their own where they stand beside a report's rows.
func (p *page) measured(path string, r *bench.Report) error {
	if r.Tool == bench.ToolPeers && p.reportOf(r) != nil {
		return nil
	}
	peers := p.peersOf(r)
	fmt.Fprintf(p, "\n## %s\n\n%s, %s.\n\n    %s\n", title(r), r.Version, r.Date, r.Command)
	if peers != nil {
		fmt.Fprintf(p, "\n%s, %s.\n\n    %s\n", peers.Version, peers.Date, peers.Command)
	}
	p.WriteString("\n```\n")
	if err := r.Write(p, peers); err != nil {
		return err
	}
	p.WriteString("```\n")
	p.modelError(r)
	if !several(r) {
		return nil
	}
	svg, err := r.Plot(peers)
	if err != nil {
		return err
	}
	plot := strings.TrimSuffix(path, ".json") + ".svg"
	p.plots = append(p.plots, output{folder + "/" + plot, svg})
	fmt.Fprintf(p, "\n![time, speed-up and recall](%s)\n", plot)
	return nil
}

// several says whether the report has more than one length: a plot over length of one point says nothing.
func several(r *bench.Report) bool {
	for _, row := range r.Rows {
		if row.SeqLen != r.Rows[0].SeqLen {
			return true
		}
	}
	return false
}

func title(r *bench.Report) string {
	c := r.Call
	count := fmt.Sprintf("%d heads", c.QHeads)
	if c.KVHeads != c.QHeads {
		count += fmt.Sprintf(" on %d kv heads", c.KVHeads)
	}
	kind := string(r.Workload.Kind)
	if r.Workload.Planted {
		kind += ", planted lists"
	}
	return fmt.Sprintf("%s on %s: %s, head dim %d, %s, workload %s", r.Tool, r.Machine.Name, count, c.HeadDim, c.DType, kind)
}

// peersOf is the peers' report that was measured like r, nil if there is none.
func (p *page) peersOf(r *bench.Report) *bench.Report {
	return p.like(r, r.Tool == bench.ToolBench, bench.ToolPeers)
}

// reportOf is the report whose rows the peers' stand beside.
func (p *page) reportOf(peers *bench.Report) *bench.Report {
	return p.like(peers, true, bench.ToolBench)
}

func (p *page) like(r *bench.Report, wanted bool, tool string) *bench.Report {
	for _, f := range p.files {
		o := p.reports[f]
		if o == nil {
			continue
		}
		if _, err := bench.Compare(r, o); wanted && o.Tool == tool && err == nil {
			return o
		}
	}
	return nil
}

// longLength is where the cost model has to be good: below, launches and short grids decide.
const longLength = 16 << 10

// modelError says how far the cost model was off, if the rows say what it expected.
func (p *page) modelError(r *bench.Report) {
	if r.Tool == bench.ToolPredict {
		return
	}
	n, sum, worst := 0, 0.0, 0.0
	for _, row := range r.Rows {
		if row.PredictedMS == nil || row.Failure != "" || row.SeqLen < longLength {
			continue
		}
		off := math.Abs(*row.PredictedMS/row.TotalMS - 1)
		n, sum, worst = n+1, sum+off, max(worst, off)
	}
	if n > 0 {
		fmt.Fprintf(p, "\nThe cost model was off by %.1f%% on average and %.1f%% at worst, over the %d rows of 16k and more.\n", 100*sum/float64(n), 100*worst, n)
	}
}
