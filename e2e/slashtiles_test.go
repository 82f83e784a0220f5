package e2e

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/ir"
)

// What choosing runs of distances gives, without a GPU: one head of each structure of the generator, chosen for by the interpreter. What is
// counted is tiles of 64 keys a row block, which are the cost, and the part of dense attention's mass that 64 rows keep under the tiles that
// a kernel computes. The table of docs/slash-tiles.md is
//
//	MINFC_SLASH_TABLE=16384,32768,131072 go test -v -timeout 60m -run TestSlashTilesKeepAsMuchForLess ./e2e

// slashChoice is a choice of diagonals, among single distances (run 1) or runs; n is in the units of the rule.
type slashChoice struct {
	run, n, first int
	rule          ir.Rule
}

func (s slashChoice) name() string { return fmt.Sprintf("d%d_%d_%d_%d", s.run, s.rule, s.n, s.first) }

func (s slashChoice) String() string {
	switch {
	case s.rule == ir.TopP:
		return fmt.Sprintf("`top_p(%.3g, ...)`, %d forced, runs of %d", float64(s.n)/1e3, s.first, s.run)
	case s.rule == ir.Above:
		return fmt.Sprintf("`above(%.3g, ...)`, %d forced, runs of %d", float64(s.n)/1e6, s.first, s.run)
	case s.run == 1:
		return fmt.Sprintf("`vertical_slash` 1000/%d", s.n)
	}
	return fmt.Sprintf("%d runs of %d", s.n, s.run)
}

// slashIndex is the index stage with all of the choices.
func slashIndex(t *testing.T, columns int, choices []slashChoice) []ir.IndexDef {
	lines := []string{"index l = probe last 64", "index p = softmax l", "index heat = sum p over queries", "index s1 = sum p over diagonals",
		fmt.Sprintf("index cols = top %d from heat first 30", columns)}
	summed := map[int]bool{1: true}
	for _, c := range choices {
		if !summed[c.run] {
			summed[c.run] = true
			lines = append(lines, fmt.Sprintf("index s%d = sum p over runs %d", c.run, c.run))
		}
		lines = append(lines, fmt.Sprintf("index %s = %s %d from s%d first %d", c.name(), []string{"top", "mass", "above"}[c.rule], c.n, c.run, c.first))
	}
	var out []ir.IndexDef
	for _, line := range lines {
		d, err := ir.ParseIndexDef(line)
		require.NoError(t, err)
		out = append(out, d)
	}
	require.NoError(t, ir.VerifyIndex(out, nil, nil))
	return out
}

// slashHead is a head with its dense attention in some rows.
type slashHead struct {
	in      ir.HeadInputs[float32]
	rows    []int
	weights [][]float64
}

func newSlashHead(t *testing.T, kind workload.Kind, n int) *slashHead {
	const dim = 128
	spec := workload.Spec{Kind: kind, Batch: 1, QHeads: 1, KVHeads: 1, SeqLen: n, HeadDim: dim, Seed: 1, DType: abi.BF16}
	in := ir.HeadInputs[float32]{Sq: n, Sk: n, D: dim, Scale: 1 / math.Sqrt(dim)}
	for tensor, to := range map[workload.Tensor]*[]float32{workload.Q: &in.Q, workload.K: &in.K} {
		raw, err := spec.Rows(tensor, 0, n)
		require.NoError(t, err)
		*to = make([]float32, n*dim)
		require.NoError(t, half.Decode(abi.BF16, *to, raw))
	}
	return attended(in)
}

// attended is a head with its dense attention in some rows.
func attended(in ir.HeadInputs[float32]) *slashHead {
	const rows = 64
	h, n, dim := &slashHead{in: in}, in.Sq, in.D
	for i := range rows {
		row := (i+1)*n/rows - 1 - i*7%(n/rows)
		w, sum := make([]float64, row+1), 0.0
		for k := range w {
			for x, q := range h.in.Q[row*dim:][:dim] {
				w[k] += float64(q) * float64(h.in.K[k*dim+x])
			}
			w[k] = math.Exp(w[k] * h.in.Scale)
			sum += w[k]
		}
		for k := range w {
			w[k] /= sum
		}
		h.rows, h.weights = append(h.rows, row), append(h.weights, w)
	}
	return h
}

// slashResult is what a choice costs and keeps.
type slashResult struct {
	tiles, columns float64 // slots of 64 keys, a row block on average
	kept           float64
}

func (h *slashHead) result(t *testing.T, sel *ir.Selection, choice slashChoice) (r slashResult) {
	keep := ir.Intersect{Sets: []ir.Set{ir.Causal{}, ir.Union{Sets: []ir.Set{
		ir.Chosen{Name: "cols", Kind: ir.ChosenColumns}, ir.Chosen{Name: choice.name(), Kind: ir.ChosenDistances}}}}}
	kept, err := (&ir.Pattern{Name: "p", Keep: keep}).CoverWith(nil, sel)
	require.NoError(t, err)
	for i, row := range h.rows {
		for k, w := range h.weights[i] {
			if kept(row, k) {
				r.kept += w / float64(len(h.rows))
			}
		}
	}
	cols, err := sel.Find("cols")
	require.NoError(t, err)
	diags, err := sel.Find(choice.name())
	require.NoError(t, err)
	blocks := (h.in.Sq + ir.BlockSize - 1) / ir.BlockSize
	for _, l := range ir.CoverTiles(diags.Members) { // a row block from position s on walks the tile if it reaches key 0: s > l - 64
		r.tiles += float64(max(0, blocks-l/ir.BlockSize)) / float64(blocks)
	}
	for i := 0; i < len(cols.Members); i += ir.BlockSize {
		r.columns += float64(blocks-cols.Members[i]/ir.BlockSize) / float64(blocks)
	}
	return r
}

// millis is what the cost model expects of attention of 32 such heads on an H200.
func (r slashResult) millis(t *testing.T, n int) float64 {
	m, known := cost.MachineFor(cost.Device{Name: "H200"}, "sm_90a")
	require.True(t, known)
	prices, err := m.ListPrices(128, false)
	require.NoError(t, err)
	rowBlocks := 32 * float64(n/ir.BlockSize)
	return rowBlocks * (r.tiles*prices.Slot + r.columns*prices.Column + prices.Row) / float64(m.Multiprocessors) / 1e6
}

// On slashes, slash_tiles with its defaults keeps what vertical_slash with MInference's keeps, but for half a percent that lies everywhere, for a
// third of its tiles; where slashes cluster, or columns cast their shadow on distances, it costs no more.
func TestSlashTilesKeepAsMuchForLess(t *testing.T) {
	if asked := os.Getenv("MINFC_SLASH_TABLE"); asked != "" {
		for _, n := range strings.Split(asked, ",") {
			n, err := strconv.Atoi(n)
			require.NoError(t, err)
			slashTable(t, n)
		}
		return
	}
	defaults := map[string]int{}
	for _, name := range []string{"vertical_slash", "slash_tiles"} {
		for _, p := range library(t, name).Pattern.Params {
			defaults[p.Name] = int(p.Default)
		}
	}
	paper, runs := slashChoice{1, defaults["slash"], 100, ir.Top}, slashChoice{64, defaults["runs"], 2, ir.Top}
	defs := slashIndex(t, defaults["vertical"], []slashChoice{paper, runs})
	for _, kind := range []workload.Kind{workload.Slash, workload.AShape, workload.Columns}[:campaign.Few(1, 3)] {
		h := newSlashHead(t, kind, 16384)
		sel, err := ir.EvalIndex(defs, nil, h.in)
		require.NoError(t, err)
		theirs, ours := h.result(t, sel, paper), h.result(t, sel, runs)
		what := fmt.Sprintf("%s: %+v of vertical_slash, %+v", kind, theirs, ours)
		require.GreaterOrEqual(t, ours.kept, theirs.kept-0.005, what)
		require.LessOrEqual(t, ours.tiles, theirs.tiles, what)
		if kind == workload.Slash {
			require.Less(t, ours.tiles, theirs.tiles/3, what)
		}
	}
}

// slashTable prints the table of the page for one length.
func slashTable(t *testing.T, n int) {
	choices := []slashChoice{{1, 6096, 100, 0}, {1, 1000, 100, 0}, {16, 64, 8, 0}, {16, 256, 8, 0}, {32, 32, 4, 0}, {32, 128, 4, 0},
		{64, 16, 2, 0}, {64, 32, 2, 0}, {64, 64, 2, 0}, {64, 128, 2, 0}, {128, 32, 1, 0}, {64, 950, 16, ir.TopP}, {64, 30000, 2, ir.Above}}
	defs := slashIndex(t, 1000, choices)
	kinds := []workload.Kind{workload.Slash, workload.AShape, workload.Columns, workload.Blocks, workload.Diffuse}
	lines := make([]string, len(choices))
	for _, kind := range kinds {
		h := newSlashHead(t, kind, n)
		sel, err := ir.EvalIndex(defs, nil, h.in)
		require.NoError(t, err)
		for i, c := range choices {
			r := h.result(t, sel, c)
			lines[i] += fmt.Sprintf(" %.0f, %.1f %%, %.1f |", r.tiles+r.columns, 100*r.kept, r.millis(t, n))
		}
	}
	fmt.Printf("\n%d tokens: %v\n\n", n, kinds)
	for i, c := range choices {
		fmt.Printf("| %s |%s\n", c, lines[i])
	}
}
