package bench

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/ir/irtest"
	"github.com/minfc/minfc/passes"
)

// TestCountWork compares the closed forms with the definition of the pattern and with the walk of the interpreter.
func TestCountWork(t *testing.T) {
	hops := 0
	for seed := range uint64(campaign.Few(300, 600)) {
		rng := rand.New(rand.NewPCG(seed, 2))
		p := irtest.RowsBySeed(seed, irtest.RandomPattern(rng))
		s, err := passes.Run(p, passes.Options{Tile: passes.Fixed(irtest.RandomTile(rng))})
		if err != nil {
			continue // too many bands; package passes tests the refusal
		}
		values, shape := irtest.RandomValues(rng, p), irtest.RandomShape(rng, 90, 400)
		got, err := CountWork(s, values, shape)
		require.NoError(t, err)
		require.Equal(t, slowCount(t, p, s, values, shape), got, "seed %d, %+v, %v\n%s", seed, shape, values, s)
		for _, g := range s.Segments {
			if g.Hop >= 0 {
				hops++
			}
		}
	}
	require.Greater(t, hops, 50, "the random patterns must reach strided segments")
}

func slowCount(t *testing.T, p *ir.Pattern, s *ir.Schedule, values map[string]int64, shape ir.Shape) (c Count) {
	keep, err := p.EndingAt(shape.End()).Keeps(values)
	require.NoError(t, err)
	for q := shape.QOffset; q < shape.QOffset+shape.Sq; q++ {
		for k := range shape.Sk {
			if keep(q, k) {
				c.Pairs++
			}
		}
	}
	for n := 0; n*s.Tile.Rows < shape.Sq; n++ {
		tiles, err := s.Tiles(values, shape, n)
		require.NoError(t, err)
		c.Tiles += int64(len(tiles))
	}
	return c
}

// A million tokens must count in well under a second: the kernels themselves take milliseconds.
func TestCountingIsFast(t *testing.T) {
	s, err := passes.Run(&ir.Pattern{Name: "s", Keep: ir.Intersect{Sets: []ir.Set{ir.Causal{}, ir.Diagonals{Step: ir.Int(1000)}}}},
		passes.Options{Tile: passes.Fixed(ir.Tile{Rows: 128, Keys: 64})})
	require.NoError(t, err)
	start := time.Now()
	n := 1 << 20
	c, err := CountWork(s, nil, ir.Shape{Sq: n, Sk: n})
	require.NoError(t, err)
	want := int64(0)
	for d := 0; d < n; d += 1000 {
		want += int64(n - d)
	}
	require.Equal(t, want, c.Pairs)
	require.Less(t, time.Since(start), 2*time.Second)
}

func TestDataDecidedWorkIsRefused(t *testing.T) {
	_, err := CountWork(&ir.Schedule{Name: "s", Index: make([]ir.IndexDef, 1)}, nil, ir.Shape{Sq: 1, Sk: 1})
	require.ErrorContains(t, err, "what s keeps is decided by the data")
}
