package ir_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

// bindText binds a schedule for the defaults of its parameters.
func bindText(t *testing.T, text string) *ir.Launched {
	t.Helper()
	s, err := ir.ParseSchedule(text)
	require.NoError(t, err)
	require.NoError(t, s.Verify())
	values, err := ir.CheckLaunch(s.Params, s.Requires, nil)
	require.NoError(t, err)
	l, err := s.Bind(values)
	require.NoError(t, err)
	return l
}

// upTo is 0..n-1 and more.
func upTo(n int, more ...int) []int {
	var out []int
	for i := range n {
		out = append(out, i)
	}
	return append(out, more...)
}

// TestSlotsByHand pins what is walked for the row block at 128: rows 128..191 of 200, after 5 keys that have no query.
func TestSlotsByHand(t *testing.T) {
	sel := &ir.Selection{QOffset: 0, Sets: []ir.Selected{
		{Name: "diags", Kind: ir.ChosenDistances, Members: []int{0, 1, 50, 190, 191, 400}},
		{Name: "cols", Kind: ir.ChosenColumns, Members: upTo(66, 80, 150, 191, 192)},
	}}
	// Without never-full it is still the sets left out that keep a slot from being full.
	text := strings.Replace(verticalSlashSchedule, "    never-full\n", "", 1)
	got, err := bindText(t, text).Slots(sel, ir.Shape{Sq: 200, Sk: 195}, 2)
	require.NoError(t, err)
	require.Equal(t, []ir.SlotTile{
		// L = 0, 64 (for distance 1), 190 (beyond 128), 254, 400
		{Start: 128, Source: ir.SourceRuns},
		{Start: 64, Source: ir.SourceRuns, Full: true},
		{Start: -62, Source: ir.SourceRuns}, // ends at key 1; the next begins at -126
		// 69 columns up to 191: two slots, none full as runs are left out
		{Start: 0, Segment: 1, Source: ir.SourceColumns},
		{Start: 64, Segment: 1, Source: ir.SourceColumns},
	}, got)
}

const blocksAndColumns = `schedule x
  index mq = pool mean q
  index mk = pool mean k
  index scores = blocks mq mk
  index best = top 3 from scores last 1
  index logits = probe last 64
  index probs = softmax logits
  index heat = sum probs over queries
  index cols = top 9 from heat
  tile 64x32 ascending
  segment 0
    lo   q - 9
    hi   q + 1
    never-full
  segment 1
    from blocks best
    hi   q - 9
  segment 2
    from columns cols
    lo   q + 1
    hi   q + 100
`

// TestSlotsOfBlocksAndColumns: blocks are walked as listed, the columns from the first on, ranges by the schedule's tile.
func TestSlotsOfBlocksAndColumns(t *testing.T) {
	l := bindText(t, blocksAndColumns)
	sel := &ir.Selection{QOffset: 10, Sets: []ir.Selected{
		{Name: "best", Kind: ir.ChosenBlocks, Blocks: [][]int{{1, 0}, {2, 0}}},
		{Name: "cols", Kind: ir.ChosenColumns, Members: upTo(250)},
	}}
	shape := ir.Shape{Sq: 66, Sk: 240, QOffset: 10}
	got, err := l.Slots(sel, shape, 1) // rows 74 and 75
	require.NoError(t, err)
	require.Equal(t, []ir.SlotTile{
		{Start: 44}, // keys 65..75 of the window
		{Start: 128, Segment: 1, Source: ir.SourceBlocks},
		{Start: 0, Segment: 1, Source: ir.SourceBlocks, Full: true},
		{Start: 0, Segment: 2, Source: ir.SourceColumns}, // below 75, masked
		{Start: 64, Segment: 2, Source: ir.SourceColumns},
		{Start: 128, Segment: 2, Source: ir.SourceColumns}, // up to 174, beyond 74+100
	}, got)
	row, err := l.RowWith(sel, shape, 65)
	require.NoError(t, err)
	for k, kept := range row {
		want := 66 <= k && k <= 75 || k < 64 || 76 <= k && k < 175
		require.Equal(t, want, kept == 1, "key %d", k)
	}
}

// TestFullColumnSlots: 64 columns that all rows see are full, wherever they are.
func TestFullColumnSlots(t *testing.T) {
	sel := &ir.Selection{Sets: []ir.Selected{
		{Name: "best", Kind: ir.ChosenBlocks, Blocks: [][]int{{0}, {1}, {2}}},
		{Name: "cols", Kind: ir.ChosenColumns, Members: append(upTo(64), 192, 193)},
	}}
	for i := range 64 {
		sel.Sets[1].Members[i] = 192 - 64 + i
	}
	got, err := bindText(t, blocksAndColumns).Slots(sel, ir.Shape{Sq: 130, Sk: 300}, 1) // rows 64..127: 128 to 163 in all
	require.NoError(t, err)
	require.Equal(t, ir.SlotTile{Start: 0, Segment: 2, Source: ir.SourceColumns}, got[len(got)-2])
	got, err = bindText(t, blocksAndColumns).Slots(sel, ir.Shape{Sq: 129, Sk: 300}, 2) // row 128: 129 to 227
	require.NoError(t, err)
	require.False(t, got[len(got)-2].Full)
	for i := range 64 {
		sel.Sets[1].Members[i] = 129 + i
	}
	sel.Sets[1].Members[64], sel.Sets[1].Members[65] = 200, 201
	got, err = bindText(t, blocksAndColumns).Slots(sel, ir.Shape{Sq: 129, Sk: 300}, 2)
	require.NoError(t, err)
	require.Equal(t, []ir.SlotTile{
		{Start: 0, Segment: 2, Source: ir.SourceColumns, Full: true},
		{Start: 64, Segment: 2, Source: ir.SourceColumns}, // only two are left
	}, got[len(got)-2:])
}

func TestListsMustBeThere(t *testing.T) {
	l := bindText(t, verticalSlashSchedule)
	shape := ir.Shape{Sq: 10, Sk: 10}
	diags := ir.Selected{Name: "diags", Kind: ir.ChosenDistances}
	_, err := l.Slots(&ir.Selection{Sets: []ir.Selected{diags}}, shape, 0)
	require.EqualError(t, err, `the selection has no "cols"`)
	_, err = l.RowWith(&ir.Selection{Sets: []ir.Selected{diags, {Name: "cols", Kind: ir.ChosenBlocks}}}, shape, 0)
	require.EqualError(t, err, `the selection has blocks for "cols", want columns`)
	_, err = l.Row(shape, 0)
	require.EqualError(t, err, "segment 0 reads the list runs diags: use RowWith, with what EvalIndex chose")
	_, err = l.RowWith(nil, shape, 10)
	require.EqualError(t, err, "query row 10 does not exist, there are 10")
	require.Empty(t, l.Tiles(ir.Shape{Sq: 10, Sk: 10}, 0), "lists have slots, not tiles")
}

// TestRowWithFindsPairsThatCountTwice: the interpreter does not trust the verifier.
func TestRowWithFindsPairsThatCountTwice(t *testing.T) {
	s, err := ir.ParseSchedule(`schedule x
  index logits = probe last 64
  index probs = softmax logits
  index heat = sum probs over queries
  index cols = top 9 from heat
  tile 64x64 ascending
  segment 0
    hi   3
  segment 1
    from columns cols
`)
	require.NoError(t, err)
	require.ErrorContains(t, s.Verify(), "segments 0 and 1 may keep the same pair")
	l, err := s.Bind(nil)
	require.NoError(t, err)
	sel := &ir.Selection{Sets: []ir.Selected{{Name: "cols", Kind: ir.ChosenColumns, Members: []int{2, 7}}}}
	_, err = l.RowWith(sel, ir.Shape{Sq: 5, Sk: 9}, 1)
	require.EqualError(t, err, "internal: the pair of query 1 and key 2 counts twice")
}

// TestBindChecksTheIndex: numbers of the index stage stay within the limits of a launch, too.
func TestBindChecksTheIndex(t *testing.T) {
	s, err := ir.ParseSchedule("schedule x\n  param n = 9 min 0\n  index logits = probe last n*n*n*n + 1\n  tile 64x64 ascending\n")
	require.NoError(t, err)
	require.NoError(t, s.CheckValues(map[string]int64{"n": 9}))
	require.ErrorContains(t, s.CheckValues(map[string]int64{"n": 9000}), `schedule "x", index "logits"`)
}
