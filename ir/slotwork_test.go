package ir_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

const testedColumns = `schedule x
  index logits = probe last 64
  index probs = softmax logits
  index trace = sum probs over diagonals
  index diags = top 9 from trace
  index heat = sum probs over queries
  index cols = top 9 from heat
  tile 64x32 ascending
  segment 0
    lo   q - 70
    hi   q + 1
  segment 1
    from columns cols
    except runs diags
    lo   3
    hi   q - 70
    test q - k != 1 mod 3
`

// randomMembers is an ascending choice of about a share of 0..n-1.
func randomMembers(rng *rand.Rand, n int, share float64) (out []int) {
	for i := range n {
		if rng.Float64() < share {
			out = append(out, i)
		}
	}
	return out
}

// TestCountWorkIsWhatIsWalked: the pairs are the pairs of the rows' covers, the area is the area of the slots.
func TestCountWorkIsWhatIsWalked(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, text := range []string{verticalSlashSchedule, blocksAndColumns, testedColumns} {
		l := bindText(t, text)
		s, err := ir.ParseSchedule(text)
		require.NoError(t, err)
		for _, shape := range []ir.Shape{{Sq: 200, Sk: 200}, {Sq: 130, Sk: 300, QOffset: 170}, {Sq: 64, Sk: 10}, {Sq: 65, Sk: 400, QOffset: 3}} {
			t.Run(fmt.Sprintf("%s%v", s.Segments[0].From, shape), func(t *testing.T) {
				sel := &ir.Selection{QOffset: shape.QOffset, Sets: []ir.Selected{
					{Name: "diags", Kind: ir.ChosenDistances, Members: randomMembers(rng, shape.QOffset+shape.Sq, 0.01)},
					{Name: "cols", Kind: ir.ChosenColumns, Members: randomMembers(rng, min(shape.Sk, shape.QOffset+shape.Sq), 0.4)},
					{Name: "best", Kind: ir.ChosenBlocks, Blocks: [][]int{{0}, {1}, {2, 0}, {3, 1}}},
				}}
				counter, err := l.CountWork(sel)
				require.NoError(t, err)
				for n := 0; n*64 < shape.Sq; n++ {
					got := counter.RowTile(shape, n)
					slots, err := l.Slots(sel, shape, n)
					require.NoError(t, err)
					area, pairs := int64(0), int64(0)
					for _, slot := range slots {
						width := 64
						if slot.Source == ir.SourceRange {
							width = s.Tile.Keys
						}
						area += int64(64 * width)
					}
					for i := 64 * n; i < min(64*n+64, shape.Sq); i++ {
						row, err := l.RowWith(sel, shape, i)
						require.NoError(t, err)
						for _, kept := range row {
							pairs += int64(kept)
						}
					}
					require.Equal(t, area, got.Area)
					require.Equal(t, pairs, got.Pairs)
					require.LessOrEqual(t, got.Pairs, got.Packed)
					require.LessOrEqual(t, got.Packed, got.Area)
				}
			})
		}
	}
}

// Columns inside the runs take no place when they are packed.
func TestCountWorkPacksColumns(t *testing.T) {
	sel := &ir.Selection{Sets: []ir.Selected{
		{Name: "diags", Kind: ir.ChosenDistances, Members: []int{0}},
		{Name: "cols", Kind: ir.ChosenColumns, Members: upTo(130)},
	}}
	c, err := bindText(t, verticalSlashSchedule).CountWork(sel)
	require.NoError(t, err)
	require.Equal(t, ir.RowWork{Area: 64 * 64 * 3, Packed: 64 * 64 * 2, Pairs: 64*64 + 65*32}, c.RowTile(ir.Shape{Sq: 256, Sk: 256}, 1))
	_, err = bindText(t, verticalSlashSchedule).CountWork(&ir.Selection{})
	require.ErrorContains(t, err, "the selection has no")
}
