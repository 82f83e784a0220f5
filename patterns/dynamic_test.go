package patterns_test

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

// head is one head of equal lengths, with rows as slices.
type head struct {
	q, k  [][]float64
	group [][][]float64 // queries of the heads of its kv head, its own among them
}

func (h head) logit(i, j int) float64 {
	sum := 0.0
	for x := range h.q[i] {
		sum += h.q[i][x] * h.k[j][x]
	}
	return sum
}

// probe adds up the probabilities of the last 64 queries by column and by distance.
func (h head) probe() (columns, distances []float64) { return h.probeLast(64) }

// probeGroup does the same of all heads of the kv head, of so many queries each.
func (h head) probeGroup(rows int) (columns, distances []float64) {
	n := len(h.q)
	columns, distances = make([]float64, n), make([]float64, n)
	for _, q := range h.group {
		c, d := head{q: q, k: h.k}.probeLast(rows)
		for i := range n {
			columns[i], distances[i] = columns[i]+c[i], distances[i]+d[i]
		}
	}
	return columns, distances
}

func (h head) probeLast(rows int) (columns, distances []float64) {
	n := len(h.q)
	columns, distances = make([]float64, n), make([]float64, n)
	for i := max(0, n-rows); i < n; i++ {
		sum := 0.0
		for j := range i + 1 {
			sum += math.Exp(h.logit(i, j) / 2)
		}
		for j := range i + 1 {
			p := math.Exp(h.logit(i, j)/2) / sum
			columns[j] += p
			distances[i-j] += p
		}
	}
	return columns, distances
}

// means are the means of blocks of so many rows.
func (h head) means(size int) head {
	mean := func(rows [][]float64) [][]float64 {
		var out [][]float64
		for block := range slices.Chunk(rows, size) {
			m := make([]float64, len(block[0]))
			for _, row := range block {
				for x, v := range row {
					m[x] += v / float64(len(block))
				}
			}
			out = append(out, m)
		}
		return out
	}
	return head{q: mean(h.q), k: mean(h.k)}
}

// blockScores are the products of block means, of the key blocks up to the diagonal.
func (h head) blockScores() [][]float64 {
	means, out := h.means(64), [][]float64(nil)
	for t := range means.q {
		var row []float64
		for b := range t + 1 {
			row = append(row, means.logit(t, b))
		}
		out = append(out, row)
	}
	return out
}

// best are the n largest values, the forced ones among them.
func best(values []float64, n int, forced func(i int) bool) map[int]bool {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
		if forced(i) {
			values[i] = math.Inf(1)
			n = max(n, 1)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[b], values[a]) })
	out := map[int]bool{}
	for place, i := range order {
		out[i] = place < n || forced(i)
	}
	return out
}

func nearest(n int) func(i int) bool { return func(i int) bool { return i < n } }

// untilShare is how many of the largest values, counted from the forced ones on, hold a share of the sum of all.
func untilShare(values []float64, share float64, forced func(i int) bool) (n int64) {
	total, have, free := 0.0, 0.0, []float64(nil)
	for i, x := range values {
		total += x
		if forced(i) {
			n, have = n+1, have+x
		} else {
			free = append(free, x)
		}
	}
	slices.SortFunc(free, func(a, b float64) int { return cmp.Compare(b, a) })
	for ; len(free) > 0 && have < share*total; free = free[1:] {
		n, have = n+1, have+free[0]
	}
	return n
}

// antidiagonalShares are what each block of 64 queries has of blocks of 64 keys: softmaxes over the means of the antidiagonals of squares
// of 8 by 8, added up by block. Queries and keys past the end are zeros, and so are their products.
func (h head) antidiagonalShares() (out [][]float64) {
	const side = 8
	n := len(h.q)
	for from := 0; from < n; from += 64 {
		row, squares := make([]float64, from/64+1), 0.0
		for q := from; q < min(from+64, n); q += side {
			var worth []float64
			sum := 0.0
			for k := 0; k <= q; k += side {
				mean := 0.0
				for i := range side {
					if q+side-1-i < n && k+i < n {
						mean += h.logit(q+side-1-i, k+i) / side
					}
				}
				worth = append(worth, math.Exp(mean/2))
				sum += math.Exp(mean / 2)
			}
			for k, x := range worth {
				row[k*side/64] += x / sum
			}
			squares++
		}
		for b := range row {
			row[b] /= squares
		}
		out = append(out, row)
	}
	return out
}

// chooses restates the header comments of the patterns whose choice depends on data.
var chooses = map[string]func(h head, p map[string]int64) func(q, k int) bool{
	"vertical_slash": func(h head, p map[string]int64) func(q, k int) bool {
		columns, distances := h.probe()
		c, d := best(columns, int(p["vertical"]), nearest(30)), best(distances, int(p["slash"]), nearest(100))
		return func(q, k int) bool { return k <= q && (c[k] || d[q-k]) }
	},
	"slash_tiles": func(h head, p map[string]int64) func(q, k int) bool {
		columns, distances := h.probe()
		return bestTiles(columns, distances, p)
	},
	"slash_tiles_shared": func(h head, p map[string]int64) func(q, k int) bool {
		columns, distances := h.probeGroup(int(p["rows"]))
		return bestTiles(columns, distances, p)
	},
	"columns_window": func(h head, p map[string]int64) func(q, k int) bool {
		columns, _ := h.probe()
		c := best(columns, int(p["vertical"]), nearest(30))
		return func(q, k int) bool { return k <= q && (c[k] || q-k < int(p["window"])) }
	},
	"block_sparse": func(h head, p map[string]int64) func(q, k int) bool {
		return h.blocksWith(p, func(t, b int) bool { return b == t })
	},
	"most_mass": func(h head, p map[string]int64) func(q, k int) bool {
		columns, distances := h.probe()
		holding := func(values []float64) map[int]bool {
			n := untilShare(values, float64(p["share"])/1000, nearest(128))
			return best(values, int(min(max(n, p["least"]), p["limit"])), nearest(128))
		}
		c, d := holding(columns), holding(distances)
		return func(q, k int) bool { return k <= q && (c[k] || d[q-k]) }
	},
	"xattention": func(h head, p map[string]int64) func(q, k int) bool {
		var chosen []map[int]bool
		for t, row := range h.antidiagonalShares() {
			forced := func(b int) bool { return b == 0 || b == t }
			chosen = append(chosen, best(row, int(untilShare(row, float64(p["share"])/1000, forced)), forced))
		}
		return func(q, k int) bool { return k <= q && chosen[q/64][k/64] }
	},
	"flash_prefill": func(h head, p map[string]int64) func(q, k int) bool {
		means := h.means(128)
		near := func(q, k int) bool { // whether the worth of the block of k comes near the best one of the block of q
			largest := 0.0
			for b := range q/64 + 1 {
				largest = max(largest, math.Exp(means.logit(q/128, b/2)/2))
			}
			return math.Exp(means.logit(q/128, k/128)/2) >= float64(p["share"])/1000*largest
		}
		return func(q, k int) bool {
			forced := int64(k/64) < 2*p["sink"] || int64(q/64-k/64) < 2*p["window"]
			return k <= q && (forced || near(q, k) || int64(q) >= int64(len(h.q))-128*p["last"])
		}
	},
	"sink_blocks": withSink,
	"block_means": withSink,
}

func withSink(h head, p map[string]int64) func(q, k int) bool {
	return h.blocksWith(p, func(t, b int) bool { return b == t || b == 0 })
}

// blocksWith keeps the best blocks of each row block t, forced ones always among them.
func (h head) blocksWith(p map[string]int64, forced func(t, b int) bool) func(q, k int) bool {
	var chosen []map[int]bool
	for t, row := range h.blockScores() {
		chosen = append(chosen, best(row, int(p["topk"]), func(b int) bool { return forced(t, b) }))
	}
	return func(q, k int) bool { return k <= q && chosen[q/64][k/64] }
}

// bestTiles keeps the best columns and the best runs of 64 distances.
func bestTiles(columns, distances []float64, p map[string]int64) func(q, k int) bool {
	c := best(columns, int(p["vertical"]), nearest(30))
	var runs []float64
	for run := range slices.Chunk(distances, 64) {
		sum := 0.0
		for _, x := range run {
			sum += x
		}
		runs = append(runs, sum)
	}
	r := best(runs, int(p["runs"]), nearest(2))
	return func(q, k int) bool { return k <= q && (c[k] || r[(q-k)/64]) }
}

func TestDynamicPatternsKeepWhatTheySay(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for name, restated := range chooses {
		p := load(t, name)
		for _, n := range []int{1, 30, 64, 130, 350, 350, 709, 709} {
			h, in := head{}, ir.HeadInputs[float64]{Sq: n, Sk: n, D: 4, Scale: 0.5}
			for _, x := range []struct {
				rows *[][]float64
				flat *[]float64
			}{{&h.q, &in.Q}, {&h.k, &in.K}} {
				for range n {
					row := []float64{rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64()}
					*x.rows, *x.flat = append(*x.rows, row), append(*x.flat, row...)
				}
			}
			h.addGroup(rng, &in)
			values, err := ir.CheckLaunch(p.Params, p.Requires, small(rng, p))
			require.NoError(t, err)
			sel, err := ir.EvalIndex(p.Index, values, in)
			require.NoError(t, err)
			keep, err := p.EndingAt(n).KeepsWith(values, sel)
			require.NoError(t, err)
			want := restated(h, values)
			for q := range n {
				for k := range n {
					if keep(q, k) != want(q, k) {
						t.Fatalf("%s of %d positions with %v at q=%d k=%d: keeps %v", name, n, values, q, k, keep(q, k))
					}
				}
			}
		}
	}
}

// addGroup gives a head two others of its kv head, around it.
func (h *head) addGroup(rng *rand.Rand, in *ir.HeadInputs[float64]) {
	other := func() (rows [][]float64) {
		for range h.q {
			rows = append(rows, []float64{rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64()})
		}
		return rows
	}
	h.group = [][][]float64{other(), h.q, other()}
	for _, rows := range h.group {
		in.Group = append(in.Group, slices.Concat(rows...))
	}
}

// small are budgets at which something is left out of a short head.
func small(rng *rand.Rand, p *ir.Pattern) map[string]int64 {
	below := map[string]int64{"vertical": 100, "slash": 200, "topk": 4, "runs": 6, "window": 50, "share": 1000, "least": 200, "limit": 300, "sink": 3, "last": 3, "rows": 40}
	if p.Name == "flash_prefill" {
		below["window"] = 3 // blocks
	}
	out := map[string]int64{}
	for _, x := range p.Params {
		out[x.Name] = x.Min + rng.Int64N(below[x.Name])
	}
	return out
}
