package bench

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/ir/irtest"
	"github.com/minfc/minfc/passes"
)

// TestCountWork compares the closed forms with the definition of the pattern and with the walk of the interpreter.
func TestCountWork(t *testing.T) {
	hops := 0
	for seed := range uint64(600) {
		rng := rand.New(rand.NewPCG(seed, 2))
		p := irtest.RandomPattern(rng)
		s, err := passes.Run(p, passes.Options{Tile: irtest.RandomTile(rng)})
		if err != nil {
			continue // too many bands; passes has its own test of that
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
	keep, err := p.Keeps(values)
	require.NoError(t, err)
	for q := shape.QOffset; q < shape.QOffset+shape.Sq; q++ {
		for k := range shape.Sk {
			if keep(q, k) {
				c.Pairs++
			}
		}
	}
	for n := 0; n*s.Tile.Rows < shape.Sq; n++ {
		first, last := shape.RowTile(n, s.Tile.Rows)
		tiles, err := s.Tiles(values, first, last, shape.Sk)
		require.NoError(t, err)
		c.Tiles += int64(len(tiles))
	}
	return c
}

// TestHops walks strides around the width of a tile, where the rhythm of jumps is irregular.
func TestHops(t *testing.T) {
	for _, diag := range []bool{false, true} {
		for step := int64(1); step < 300; step++ {
			r := ir.Residue{Diag: diag, Off: 5, Step: int(step)}
			const first, last, keys, top = 1000, 1031, 16, 4001
			for _, bottom := range []int{0, 17, 3990} {
				want := int64(0)
				for e := r.NextTop(top, keys, first, last); e > bottom; e = r.NextTop(e-keys, keys, first, last) {
					want++
				}
				mine := residue{diag: diag, off: 5, step: step}
				if diag {
					mine.off -= last
				}
				require.Equal(t, want, mine.hops(top, int64(bottom), keys, last-first), "diag %v, step %d, bottom %d", diag, step, bottom)
			}
		}
	}
}

func TestClassesMeet(t *testing.T) {
	for a := int64(1); a < 9; a++ {
		for b := int64(1); b < 9; b++ {
			for x := range a * b {
				c, o := class{x % a, a}, class{x / a % b, b}
				want := int64(0)
				for k := int64(3); k < 150; k++ {
					if k%a == c.at && k%b == o.at {
						want++
					}
				}
				got := int64(0)
				if both, some := c.meet(o); some {
					got = both.count(3, 150)
				}
				require.Equal(t, want, got, "%v and %v", c, o)
			}
		}
	}
	prime := class{5, 1<<30 - 35}
	both, some := prime.meet(class{7, 1<<30 - 41})
	require.False(t, some && both.count(0, 1<<30) > 0, "the classes meet beyond every key")
	both, some = prime.meet(class{5, 1<<30 - 41})
	require.True(t, some)
	require.Equal(t, int64(1), both.count(0, 1<<30))
	_, some = both.meet(class{4, 7})
	require.False(t, some)
}

// A million tokens must count in well under a second: the kernels themselves take milliseconds.
func TestCountingIsFast(t *testing.T) {
	s, err := passes.Run(&ir.Pattern{Name: "s", Keep: ir.Intersect{Sets: []ir.Set{ir.Causal{}, ir.Diagonals{Step: ir.Int(1000)}}}},
		passes.Options{Tile: ir.Tile{Rows: 128, Keys: 64}})
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
