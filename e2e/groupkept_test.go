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
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/ir"
)

// What one list for a group costs, without a GPU: four query heads of a kv head, chosen for by the interpreter, each by itself or together. The
// table of docs/groups.md is
//
//	MINFC_GROUP_TABLE=16384,32768 go test -v -timeout 60m -run TestSharedListsKeepAsMuch ./e2e

const groupSize = 4

// groupChoices are slash_tiles by itself, by group, and by group from 16 rows of each head; the last two with any number of runs.
var groupChoices = []struct{ what, rows, shared string }{
	{"of each head", "64", ""}, {"by group", "64", "shared by group"}, {"by group, 16 rows a head", "16", "shared by group"},
	{"of each head, 16 rows", "16", ""},
}

// groupOf are the heads of a kv head. Their queries come apart rows later from head to head, so that a head's slashes lie as much farther than the
// slashes of the head before; 0: all look at the same.
func groupOf(t *testing.T, kind workload.Kind, n, apart int) (heads []*slashHead) {
	const dim = 128
	spec := workload.Spec{Kind: kind, Batch: 1, QHeads: groupSize, KVHeads: 1, SeqLen: n, HeadDim: dim, Seed: 1, DType: abi.BF16}
	rows := func(tensor workload.Tensor, heads int) []float32 {
		raw, err := spec.Rows(tensor, 0, n)
		require.NoError(t, err)
		out := make([]float32, heads*n*dim)
		require.NoError(t, half.Decode(abi.BF16, out, raw))
		return out
	}
	q, k := rows(workload.Q, groupSize), rows(workload.K, 1)
	var group [][]float32
	for h := range groupSize {
		own := make([]float32, n*dim)
		for i := range n {
			copy(own[i*dim:(i+1)*dim], q[(h*n+max(0, i-h*apart))*dim:])
		}
		group = append(group, own)
	}
	for h := range groupSize {
		in := ir.HeadInputs[float32]{Q: group[h], K: k, Group: group, Sq: n, Sk: n, D: dim, Scale: 1 / math.Sqrt(dim)}
		heads = append(heads, attended(in))
	}
	return heads
}

// groupResult is what the heads of a group keep: on average, and the head that keeps least.
type groupResult struct{ slots, kept, least float64 }

func (g groupResult) String() string {
	return fmt.Sprintf("%.0f, %.1f %%, %.1f %%", g.slots, 100*g.kept, 100*g.least)
}

// keeps chooses for the heads, with so many columns and runs.
func keeps(t *testing.T, heads []*slashHead, rows, shared string, columns, runs int) (g groupResult) {
	p, err := compile.Load("kept.minf", fmt.Appendf(nil, `pattern kept {
		index probe = softmax(q[-%s:] * k)
		index cols = top(%d, sum(probe, queries)) %s with first 30
		index diags = top(%d, sum(probe, diagonals(64))) %[3]s with first 2
		keep causal & (columns(cols) | diagonals(diags)) }`, rows, columns, shared, runs), "", nil)
	require.NoError(t, err)
	g.least = 1
	choice := slashChoice{run: 64, n: runs, first: 2}
	for _, h := range heads {
		sel, err := ir.EvalIndex(p.Pattern.Index, nil, h.in)
		require.NoError(t, err)
		for i := range sel.Sets {
			if sel.Sets[i].Kind == ir.ChosenDistances {
				sel.Sets[i].Name = choice.name()
			}
		}
		r := h.result(t, sel, choice)
		g.slots, g.kept, g.least = g.slots+(r.tiles+r.columns)/groupSize, g.kept+r.kept/groupSize, min(g.least, r.kept)
	}
	return g
}

// Heads that look at the same keys lose nothing by one list; heads that look elsewhere lose nothing either while the budget holds what all of
// them look at, and a part of it where it does not.
func TestSharedListsKeepAsMuch(t *testing.T) {
	if asked := os.Getenv("MINFC_GROUP_TABLE"); asked != "" {
		for _, n := range strings.Split(asked, ",") {
			n, err := strconv.Atoi(n)
			require.NoError(t, err)
			groupTable(t, n)
		}
		return
	}
	const n = 4096
	for _, apart := range []int{200, 0}[:campaign.Few(1, 2)] {
		heads := groupOf(t, workload.Slash, n, apart)
		for runs, loss := range map[int]float64{40: 0.01, 8: 1} {
			own, together := keeps(t, heads, "64", "", 500, runs), keeps(t, heads, "64", "shared by group", 500, runs)
			what := fmt.Sprintf("apart %d, %d runs: %s alone, %s together", apart, runs, own, together)
			require.InDelta(t, own.slots, together.slots, 0.35*own.slots, what)
			require.GreaterOrEqual(t, together.kept, own.kept-loss, what)
			if apart > 0 && runs == 8 {
				require.Less(t, together.least, own.least-0.1, what)
			} else {
				require.GreaterOrEqual(t, together.least, own.least-0.01, what)
			}
		}
	}
}

// groupTable prints the table of the page for one length.
func groupTable(t *testing.T, n int) {
	for _, input := range []struct {
		kind  workload.Kind
		apart int
	}{{workload.Slash, 0}, {workload.Slash, 1000}, {workload.Columns, 0}, {workload.AShape, 0}, {workload.Diffuse, 0}} {
		heads := groupOf(t, input.kind, n, input.apart)
		for _, c := range groupChoices {
			line := fmt.Sprintf("| %d | %s, %d apart | %s |", n, input.kind, input.apart, c.what)
			for _, runs := range []int{64, 32, 16} {
				line += fmt.Sprintf(" %s |", keeps(t, heads, c.rows, c.shared, 1000, runs))
			}
			fmt.Println(line)
		}
	}
}
