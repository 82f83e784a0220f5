package ir_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/ir/irtest"
)

// TestWidest: without an index stage, a pattern keeps all that any choice could make it keep.
func TestWidest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	more := 0
	for seed := range uint64(300) {
		p := irtest.RowsBySeed(seed, irtest.RandomDynamic(rng))
		wide := p.Widest()
		require.NoError(t, wide.Verify(), "%s", wide)
		require.Empty(t, wide.Index)
		values := irtest.RandomValues(rng, p)
		shape := ir.Shape{Sq: 1 + rng.IntN(150), Sk: 1 + rng.IntN(200), QOffset: rng.IntN(60)}
		can, err := wide.EndingAt(shape.End()).Keeps(values)
		require.NoError(t, err)
		keeps, err := p.EndingAt(shape.End()).CoverWith(values, irtest.RandomSelection(rng, p.Index, shape))
		require.NoError(t, err)
		for q := shape.QOffset; q < shape.QOffset+shape.Sq; q++ {
			for k := range min(q+1, shape.Sk) {
				if keeps(q, k) && !can(q, k) {
					t.Fatalf("query at %d, key %d is kept, but not by the widest:\n%s%s", q, k, p, wide)
				}
				if can(q, k) && !keeps(q, k) {
					more++
				}
			}
		}
	}
	require.Positive(t, more)
}

// TestWidestOfKnownPatterns: chosen sets become everything, and nothing where they are taken away.
func TestWidestOfKnownPatterns(t *testing.T) {
	cols, window := ir.Chosen{Name: "cols"}, ir.Window{Left: ir.Int(4)}
	for want, keep := range map[string]ir.Set{
		"causal & (all | window(4, 0))": ir.Intersect{Sets: []ir.Set{ir.Causal{}, ir.Union{Sets: []ir.Set{cols, window}}}},
		`causal \ nothing`:              ir.Minus{Left: ir.Causal{}, Right: cols},
		`all \ (window(4, 0) \ all)`:    ir.Minus{Left: cols, Right: ir.Minus{Left: window, Right: cols}},
	} {
		p := &ir.Pattern{Name: "x", Keep: keep}
		require.Equal(t, want, ir.FormatSet(p.Widest().Keep))
	}
}
