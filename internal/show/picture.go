package show

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/demo"
	"github.com/minfc/minfc/internal/pairs"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/passes"
)

// The pictures count the kept pairs of cells: all pairs of some neighbouring queries and keys. Of a static pattern a cell is a difference of two
// counts in closed form, so that a million tokens take no longer than a thousand. Other ways were to ask Keeps for every pair, 10^12 of a
// million tokens, and to ask it for some rows, which misses what few rows keep.

const (
	cells = 64 // of a picture, down and across: 32 by 16 characters of braille

	// askedLength bounds, in tokens, pictures whose pairs are asked for one by one: of generated heads, and of intricate bands.
	askedLength = 2048
	// mostExclusions is how many steps that a band leaves out are counted in closed form: every further one doubles the counts.
	mostExclusions = 4
)

// grid holds the kept pairs of each cell, and the queries and keys at which cells begin.
type grid struct {
	n     int // queries and keys
	edges []int
	kept  [][]int64 // by query, then by key
	head  *head     // that it is of, nil of a static pattern
}

func newGrid(n int) *grid {
	g := &grid{n: n, edges: edgesOf(n)}
	for range len(g.edges) - 1 {
		g.kept = append(g.kept, make([]int64, len(g.edges)-1))
	}
	return g
}

// edgesOf cuts n queries into cells, as evenly as they come.
func edgesOf(n int) []int {
	count := min(n, cells)
	edges := make([]int, count+1)
	for i := range edges {
		edges[i] = i * n / count
	}
	return edges
}

// draw fills the grid of s.
func (s *subject) draw() (*grid, error) {
	if s.dynamic() {
		return s.drawHead()
	}
	g := newGrid(s.n)
	schedule, err := s.schedule(s.keeping(s.pattern.Keep).EndingAt(s.n), passes.Fixed(ir.Tile{Rows: 1024, Keys: 1024}))
	if err != nil {
		return nil, err
	}
	if intricate(schedule) {
		return s.drawAsked()
	}
	for i, row := range g.kept {
		below := int64(0) // pairs with the keys before the cell
		for j := range row {
			if s.causal && j > i { // after all queries of the row
				break
			}
			c, err := s.count(schedule, g.edges[i], g.edges[i+1]-g.edges[i], g.edges[j+1])
			if err != nil {
				return nil, err
			}
			row[j], below = c.Pairs()-below, c.Pairs()
		}
	}
	return g, nil
}

// intricate says whether a segment has residue tests that take long to count: on keys and on distances both, or many that leave pairs out.
func intricate(schedule *ir.Schedule) bool {
	for _, g := range schedule.Segments {
		var keys, distances bool
		exclusions := 0
		for _, t := range g.Tests {
			keys, distances = keys || !t.Diag, distances || t.Diag
			if t.Not {
				exclusions++
			}
		}
		if keys && distances || exclusions > mostExclusions {
			return true
		}
	}
	return false
}

// drawAsked fills the grid of a static pattern pair by pair.
func (s *subject) drawAsked() (*grid, error) {
	g := newGrid(min(s.n, askedLength))
	keeps, err := s.pattern.EndingAt(g.n).Keeps(s.values)
	if err != nil {
		return nil, err
	}
	g.ask(keeps)
	return g, nil
}

// ask counts what a function keeps of each cell.
func (g *grid) ask(keeps func(q, k int) bool) {
	for i, row := range g.kept {
		for j := range row {
			row[j] = countPairs(keeps, g.edges[i], g.edges[i+1], g.edges[j], g.edges[j+1])
		}
	}
}

// head is one generated head, and what the index stage chooses for it in float64.
type head struct {
	n      int // queries and keys
	params map[string]int64
	keeps  func(q, k int) bool
	chosen *ir.Selection
}

// head generates the head that minfc run takes for the pattern, and chooses for it. Parameters that nobody set have the values that mean
// something at its length.
func (s *subject) head() (*head, error) {
	n := min(s.n, askedLength)
	shape := qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: n, SeqK: n, HeadDim: demo.Shape.HeadDim}
	in, err := demo.Input(s.pattern.Name, shape, DType)
	if err != nil {
		return nil, err
	}
	values, err := ir.CheckLaunch(s.pattern.Params, s.pattern.Requires, demo.Params(s.pattern, s.given))
	if err != nil {
		return nil, err
	}
	q, k := make([]float32, n*shape.HeadDim), make([]float32, n*shape.HeadDim)
	if err := errors.Join(half.Decode(DType, q, in.Q), half.Decode(DType, k, in.K)); err != nil {
		return nil, err
	}
	chosen, err := ir.EvalIndex(s.pattern.Index, values, ir.HeadInputs[float32]{Q: q, K: k, Sq: n, Sk: n, D: shape.HeadDim,
		Scale: 1 / math.Sqrt(float64(shape.HeadDim))})
	if err != nil {
		return nil, err
	}
	keeps, err := s.pattern.EndingAt(n).KeepsWith(values, chosen)
	return &head{n, values, keeps, chosen}, err
}

// drawHead fills the grid from a generated head.
func (s *subject) drawHead() (*grid, error) {
	h, err := s.head()
	if err != nil {
		return nil, err
	}
	g := newGrid(h.n)
	g.head = h
	g.ask(h.keeps)
	return g, nil
}

// countPairs asks for every pair of the queries [q0, q1) and the keys [k0, k1).
func countPairs(keeps func(q, k int) bool, q0, q1, k0, k1 int) (n int64) {
	for q := q0; q < q1; q++ {
		for k := k0; k < k1; k++ {
			if keeps(q, k) {
				n++
			}
		}
	}
	return n
}

// params are the parameters of the pattern's head in the order in which it declares them, where they have other values than in s.
func (g *grid) params(s *subject) string {
	var out []string
	for _, p := range s.pattern.Params {
		if g.head != nil && g.head.params[p.Name] != s.values[p.Name] {
			out = append(out, fmt.Sprintf("%s=%d", p.Name, g.head.params[p.Name]))
		}
	}
	return strings.Join(out, " ")
}

// Picture is a picture of kept pairs in braille: queries go down, keys to the right, and a dot is a cell of which some pair is kept.
type Picture struct {
	Lines     []string `json:"lines"`
	SeqLen    int      `json:"seqlen"`               // queries, and keys
	Cell      float64  `json:"cell"`                 // queries, and keys, that a dot stands for
	Kept      int64    `json:"kept_pairs"`           // of the head that is drawn
	Generated bool     `json:"generated"`            // data decides, and the picture is of one generated head
	Params    string   `json:"parameters,omitempty"` // of that head, where their values are not the pattern's
	Full      bool     `json:"full"`                 // every dot is set, though pairs are left out
}

// picture draws the grid.
func (g *grid) picture(s *subject) Picture {
	m := pairs.Mask{Keys: len(g.kept)}
	p := Picture{SeqLen: g.n, Generated: g.head != nil, Params: g.params(s)}
	for i, row := range g.kept {
		m.Rows = append(m.Rows, i)
		for _, kept := range row {
			p.Kept += kept
			m.Kept = append(m.Kept, byte(min(kept, 1)))
		}
	}
	p.Full = p.Kept < s.densePairs(g.n) && g.full(s.causal)
	drawn := m.Draw(g.n, (len(g.kept)+1)/2, (len(g.kept)+3)/4)
	p.Lines, p.Cell = drawn.Lines, drawn.DotRows
	return p
}

// full says whether every cell with pairs of the base keeps one, though not all of them: then the picture shows less than there is.
func (g *grid) full(causal bool) bool {
	for i, row := range g.kept {
		for j, kept := range row {
			if kept == 0 && (!causal || j <= i) {
				return false
			}
		}
	}
	return true
}
