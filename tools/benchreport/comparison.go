package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/minfc/minfc/internal/bench"
)

// comparison is one of our calls beside others' over the same input.
type comparison struct {
	target  string // "sm_90a"
	chosen  bool   // the data decides
	pattern string
	input   string
	length  int
	heads   string
	dim     string
	density float64 // kept pairs over the pairs of dense attention
	ms      float64
	times   map[string]ratio // by peer
	file    string
	date    string
	row     bench.Row // of minfc bench: its stages
}

// ratio is a peer's time over ours.
type ratio struct {
	value float64
	apart bool // of two runs, by time a head
}

func (r ratio) String() string {
	if r.apart {
		return fmt.Sprintf("%.2fx*", r.value)
	}
	return fmt.Sprintf("%.2fx", r.value)
}

// Peers as files name them. Others have the names of their files.
const (
	flash2   = "torch fa2"
	cudnn    = "torch cudnn"
	ownDense = "minfc dense"
)

var peerNames = map[string]string{flash2: "FlashAttention-2", cudnn: "cuDNN", "torch flex": "FlexAttention"}

// comparisons are the comparisons of all files: of Hopper code first, calls that data decides before the others.
func (m *measurements) comparisons() (out []comparison) {
	for _, f := range m.files {
		if r, ok := m.reports[f]; ok {
			out = append(out, m.ofReport(f, r)...)
		}
		if r, ok := m.checked[f]; ok {
			out = append(out, r.comparisons(f)...)
		}
	}
	slices.SortStableFunc(out, func(a, b comparison) int {
		if c := cmp.Or(strings.Compare(b.target, a.target), cmp.Compare(a.order(), b.order())); c != 0 || !a.chosen {
			return c
		}
		return cmp.Or(strings.Compare(a.pattern, b.pattern), cmp.Compare(a.length, b.length))
	})
	return out
}

// The kinds of calls, in the order of the page.
const (
	chosenLists = "lists that the data chooses"
	staticSets  = "sparse patterns without lists"
	denseSets   = "dense attention"
)

var kinds = []string{chosenLists, staticSets, denseSets}

func (c comparison) kind() string {
	switch {
	case c.chosen:
		return chosenLists
	case c.density < 1:
		return staticSets
	}
	return denseSets
}

func (c comparison) order() int { return slices.Index(kinds, c.kind()) }

// ofReport are the rows of ours that something stands beside: a row of a peer, our dense kernel, or for lists that the data chose
// dense attention of another run.
func (m *measurements) ofReport(file string, r *bench.Report) (out []comparison) {
	if r.Workload.Planted || r.Machine.Emulated || r.Tool == bench.ToolPredict {
		return nil
	}
	for _, x := range r.Rows {
		sparse := x.WorkspaceBytes > 0 && x.DenseHeads < r.Call.Batch*r.Call.QHeads
		if !x.Ours() || x.Failure != "" || r.Tool == bench.ToolBench && !sparse {
			continue
		}
		c := comparison{target: strings.TrimPrefix(x.Implementation, "minfc "), chosen: sparse, pattern: label(x.Label()),
			input: r.Workload.Kind, length: x.SeqLen,
			heads: heads(r.Call), dim: fmt.Sprintf("%d %s", r.Call.HeadDim, r.Call.DType), density: x.Density, ms: x.TotalMS,
			times: beside(r, x), file: file, date: r.Date, row: x}
		if sparse && len(c.times) == 0 {
			c.times = m.dense(c, x.TotalMS/float64(r.Call.Batch*r.Call.QHeads))
		}
		if len(c.times) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// beside are the peers of a row in its own report.
func beside(r *bench.Report, x bench.Row) map[string]ratio {
	times := map[string]ratio{}
	for _, y := range r.Rows {
		if !y.Ours() && y.Failure == "" && y.Pattern == x.Pattern && y.SeqLen == x.SeqLen && maps.Equal(y.Params, x.Params) {
			times[y.Implementation] = ratio{value: y.TotalMS / x.TotalMS}
		}
	}
	if x.VsDense != nil && r.Tool == bench.ToolBench {
		times[ownDense] = ratio{value: *x.VsDense}
	}
	return times
}

// dense are the times of dense causal attention over the time of a head of ours. Several files may have one peer: its fastest counts.
func (m *measurements) dense(c comparison, head float64) map[string]ratio {
	times := map[string]ratio{}
	note := func(peer string, ms float64) {
		if old, has := times[peer]; !has || ms/head < old.value {
			times[peer] = ratio{ms / head, true}
		}
	}
	for _, f := range m.files {
		if r, ok := m.reports[f]; ok && r.Tool == bench.ToolPeers && c.dim == fmt.Sprintf("%d %s", r.Call.HeadDim, r.Call.DType) {
			for _, x := range r.Rows {
				if x.Pattern == "dense" && x.SeqLen == c.length && x.Failure == "" && (!x.Ours() || x.Implementation == "minfc "+c.target) {
					note(peer(x.Implementation), x.TotalMS/float64(r.Call.Batch*r.Call.QHeads))
				}
			}
		}
		for _, x := range m.checked[f].Rows {
			if name, ms, ok := x.denseHead(c); ok {
				note(name, ms)
			}
		}
	}
	return times
}

func peer(implementation string) string {
	if strings.HasPrefix(implementation, "minfc") {
		return ownDense
	}
	return implementation
}

func label(s string) string { return strings.ReplaceAll(s, ",", " ") }
