package passes

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/ir/irtest"
)

// TestRandomDynamicPatterns compares the slots that a kernel walks with the cover of the pattern, for random patterns, shapes
// and choices: the same pairs, each once, between what was asked for and causal.
func TestRandomDynamicPatterns(t *testing.T) {
	patterns := campaign.Cases(200, 500, 1000)
	seen := dynamicCounts{}
	for seed := range uint64(patterns) {
		rng := rand.New(rand.NewPCG(seed, 7))
		p := irtest.RowsBySeed(seed, irtest.RandomDynamic(rng))
		p.Keep = ir.Intersect{Sets: []ir.Set{ir.Causal{}, p.Keep}}
		s, err := Run(p, Options{Tile: Fixed(ir.Tile{Rows: 64, Keys: []int{32, 64, 128}[rng.IntN(3)]}), Verify: true})
		if err != nil {
			require.NotContains(t, err.Error(), "internal", "seed %d\n%s", seed, p)
			require.Regexp(t, "disjoint bands|meets|is taken away", err.Error(), "seed %d\n%s", seed, p)
			seen.refused++
			continue
		}
		require.True(t, s.Causal(), "seed %d\n%s\n%s", seed, p, s)
		for range 3 {
			values := irtest.RandomValues(rng, p)
			shape := irtest.RandomShape(rng, 200, 400)
			sel := irtest.RandomSelection(rng, p.Index, shape)
			err := seen.compare(rng, dynamicLaunch{p, s, values, shape, sel})
			require.NoError(t, err, "seed %d, %+v, %v, %+v\n%s\n%s", seed, shape, values, sel, p, s)
		}
	}
	t.Logf("%+v", seen)
	require.Less(t, seen.refused, patterns/5)
	for source, n := range seen.slots {
		require.Greater(t, n, 2*patterns, "slots of %s", ir.SourceKind(source))
		require.Greater(t, seen.full[source], patterns/20, "full slots of %s", ir.SourceKind(source))
	}
	require.Greater(t, seen.excepts, patterns)
	require.Greater(t, seen.extra, 10*patterns)
	require.Greater(t, seen.keeping, patterns/5)
}

// dynamicCounts says what the random launches met: slots and full ones by source, sets left out, pairs that are computed
// without being asked for, and launches proven to keep a key in every row.
type dynamicCounts struct {
	refused, excepts, extra, keeping int
	slots, full                      [ir.SourceColumns + 1]int
}

type dynamicLaunch struct {
	p      *ir.Pattern
	s      *ir.Schedule
	values map[string]int64
	shape  ir.Shape
	sel    *ir.Selection
}

// compare checks some rows and all full slots of a launch.
func (c *dynamicCounts) compare(rng *rand.Rand, d dynamicLaunch) error {
	asked, err := d.p.EndingAt(d.shape.End()).KeepsWith(d.values, d.sel)
	if err != nil {
		return err
	}
	cover, err := d.p.EndingAt(d.shape.End()).CoverWith(d.values, d.sel)
	if err != nil {
		return err
	}
	launched, err := d.s.Bind(d.values)
	if err != nil {
		return err
	}
	keeping := d.s.EveryRowKeeps()
	if keeping {
		c.keeping++
	}
	for _, g := range d.s.Segments {
		c.excepts += len(g.Except)
	}
	for _, i := range someRows(rng, d.shape.Sq) {
		row, err := launched.RowWith(d.sel, d.shape, i)
		if err != nil {
			return err
		}
		q := d.shape.QOffset + i
		if keeping && q < d.shape.Sk && slices.Max(row) == 0 {
			return fmt.Errorf("proven that every row keeps a key, but query row %d keeps none", i)
		}
		for k, kept := range row {
			switch {
			case cover(q, k) != (kept == 1):
				return fmt.Errorf("query row %d, key %d: the pattern says %v, the schedule %v", i, k, cover(q, k), kept == 1)
			case asked(q, k) && kept == 0:
				return fmt.Errorf("query row %d, key %d: asked for and not kept", i, k)
			case kept == 1 && k > q:
				return fmt.Errorf("query row %d, key %d: kept and not causal", i, k)
			case kept == 1 && !asked(q, k):
				c.extra++
			}
		}
	}
	return c.fullSlots(launched, cover, d)
}

// someRows are the first and last rows of row blocks and a few others.
func someRows(rng *rand.Rand, sq int) []int {
	rows := []int{0, sq - 1, rng.IntN(sq), rng.IntN(sq)}
	for i := ir.BlockSize; i < sq; i += ir.BlockSize {
		rows = append(rows, i-1, i)
	}
	return rows
}

// fullSlots checks that full slots hold kept pairs only.
func (c *dynamicCounts) fullSlots(launched *ir.Launched, cover func(q, k int) bool, d dynamicLaunch) error {
	for n := 0; n*ir.BlockSize < d.shape.Sq; n++ {
		slots, err := launched.Slots(d.sel, d.shape, n)
		if err != nil {
			return err
		}
		first, last := d.shape.RowTile(n, ir.BlockSize)
		for _, t := range slots {
			c.slots[t.Source]++
			if !t.Full {
				continue
			}
			c.full[t.Source]++
			for q := first; q <= last; q++ {
				for _, k := range slotKeys(d, t) {
					if !cover(q, k) {
						return fmt.Errorf("full slot %+v of rows %d..%d: the pair %d, %d is not kept", t, first, last, q, k)
					}
				}
			}
		}
	}
	return nil
}

// slotKeys are the keys of a full slot.
func slotKeys(d dynamicLaunch, t ir.SlotTile) []int {
	if t.Source == ir.SourceColumns {
		chosen, _ := d.sel.Find(d.s.Segments[t.Segment].From.Name)
		return chosen.Members[t.Start : t.Start+ir.BlockSize]
	}
	width := ir.BlockSize
	if t.Source == ir.SourceRange {
		width = d.s.Tile.Keys
	}
	var out []int
	for i := range width {
		out = append(out, t.Start+i)
	}
	return out
}

// TestEvaluatedSelections runs the index stage of the patterns in testdata on random heads, short ones too, and compares the
// slots with the cover of what it chose.
func TestEvaluatedSelections(t *testing.T) {
	seen := dynamicCounts{}
	for _, name := range []string{"vertical_slash", "block_sparse", "columns_window", "all_chosen"} {
		archive, err := txtar.ParseFile("testdata/" + name + ".txtar")
		require.NoError(t, err)
		p, err := ir.ParsePattern(string(archive.Files[0].Data))
		require.NoError(t, err)
		s, err := Run(p, Options{Tile: Fixed(listTile), Verify: true})
		require.NoError(t, err)
		for seed := range uint64(60) {
			rng := rand.New(rand.NewPCG(seed, 8))
			shape := irtest.RandomShape(rng, 250, 350)
			d := dynamicLaunch{p, s, irtest.RandomValues(rng, p), shape, nil}
			own, err := d.evaluate(rng)
			require.NoError(t, err)
			require.NoError(t, seen.compare(rng, d.with(own)), "%s, seed %d, %+v, %v", name, seed, shape, d.values)
		}
	}
	for source, n := range seen.slots {
		require.Greater(t, n, 200, "slots of %s", ir.SourceKind(source))
	}
}

func (d dynamicLaunch) with(sel *ir.Selection) dynamicLaunch {
	d.sel = sel
	return d
}

// evaluate runs the index stages of the pattern and of the schedule on one random head. The schedule may have dropped choices;
// the others must be the same.
func (d dynamicLaunch) evaluate(rng *rand.Rand) (*ir.Selection, error) {
	in := ir.HeadInputs[float32]{Sq: d.shape.Sq, Sk: d.shape.Sk, D: 8, QOffset: d.shape.QOffset, Scale: 1}
	in.Q, in.K = normal(rng, in.Sq*in.D), normal(rng, in.Sk*in.D)
	all, err := ir.EvalIndex(d.p.Index, d.values, in)
	if err != nil {
		return nil, err
	}
	kept, err := ir.EvalIndex(d.s.Index, d.values, in)
	if err != nil {
		return nil, err
	}
	for _, s := range kept.Sets {
		if same, err := all.Find(s.Name); err != nil || !reflect.DeepEqual(*same, s) {
			return nil, fmt.Errorf("the schedule chooses %+v, the pattern %+v", s, same)
		}
	}
	return all, nil
}

func normal(rng *rand.Rand, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(rng.NormFloat64())
	}
	return out
}
