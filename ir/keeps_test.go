package ir_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

// TestKeeps draws what each set keeps for the queries 2..6 (one a row) and the keys 0..8.
func TestKeeps(t *testing.T) {
	n := func(v int64) ir.Poly { return ir.Int(v) }
	end := func(v int64) *ir.Poly { p := ir.Int(v); return &p }
	for _, c := range []struct {
		name string
		keep ir.Set
		want string
	}{
		{"all", ir.All{}, "######### ######### ######### ######### #########"},
		{"causal", ir.Causal{}, "###...... ####..... #####.... ######... #######.."},
		{"window", ir.Window{Left: n(2), Right: n(0)}, ".##...... ..##..... ...##.... ....##... .....##.."},
		{"window ahead", ir.Window{Left: n(1), Right: n(2)}, "..###.... ...###... ....###.. .....###. ......###"},
		{"window behind", ir.Window{Left: n(3), Right: n(-1)}, "##....... .##...... ..##..... ...##.... ....##..."},
		{"sink", ir.Sink{N: n(2)}, "##....... ##....... ##....... ##....... ##......."},
		{"columns", ir.Columns{From: n(1), To: end(7), Step: n(3)}, ".#..#.... .#..#.... .#..#.... .#..#.... .#..#...."},
		{"columns from before 0", ir.Columns{From: n(-2), Step: n(4)}, "..#...#.. ..#...#.. ..#...#.. ..#...#.. ..#...#.."},
		{"diagonals", ir.Diagonals{From: n(0), To: end(4), Step: n(3)}, "..#...... #..#..... .#..#.... ..#..#... ...#..#.."},
		{"diagonals ahead", ir.Diagonals{From: n(-2), Step: n(3)}, ".#..#.... ..#..#... #..#..#.. .#..#..#. ..#..#..#"},
		{"union", ir.Union{Sets: []ir.Set{ir.Sink{N: n(1)}, ir.Window{Left: n(1), Right: n(0)}}},
			"#.#...... #..#..... #...#.... #....#... #.....#.."},
		{"no union", ir.Union{}, "......... ......... ......... ......... ........."},
		{"intersect", ir.Intersect{Sets: []ir.Set{ir.Sink{N: n(4)}, ir.Causal{}}}, "###...... ####..... ####..... ####..... ####....."},
		{"no intersect", ir.Intersect{}, "######### ######### ######### ######### #########"},
		{"minus", ir.Minus{Left: ir.Causal{}, Right: ir.Sink{N: n(3)}}, "......... ...#..... ...##.... ...###... ...####.."},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := ir.Pattern{Name: "x", Keep: c.keep}
			keep, err := p.Keeps(nil)
			require.NoError(t, err)
			var rows []string
			for q := 2; q <= 6; q++ {
				row := ""
				for k := range 9 {
					row += map[bool]string{true: "#", false: "."}[keep(q, k)]
				}
				rows = append(rows, row)
			}
			require.Equal(t, strings.ReplaceAll(c.want, " ", "\n"), strings.Join(rows, "\n"))
		})
	}
}

func TestKeepsErrors(t *testing.T) {
	p := ir.Pattern{Name: "x", Keep: ir.Union{Sets: []ir.Set{ir.Columns{Step: ir.Var("n")}}}}
	_, err := p.Keeps(map[string]int64{"n": 0})
	require.EqualError(t, err, `pattern "x": the step n is 0, want at least 1`)
	_, err = p.Keeps(nil)
	require.EqualError(t, err, `pattern "x": no value for parameter "n"`)
}
