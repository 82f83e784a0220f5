package codegen

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// schedules are a layer: blocks of lists and ranges, twice each.
func schedules(tile func(*ir.Schedule) ir.Tile) (out []*ir.Schedule) {
	bound := []ir.Bound{{Row: true, Off: ir.Int(1)}}
	for n := range 4 {
		s := &ir.Schedule{Name: fmt.Sprint("s", n), Order: ir.OrderLongestFirst, Segments: []ir.Segment{{Hi: bound, Hop: -1}}}
		if n%2 == 0 {
			s.Segments[0].From = ir.Source{Kind: ir.SourceBlocks, Name: "best"}
		}
		s.Tile = tile(s)
		out = append(out, s)
	}
	return out
}

// What the interface promises to the compiler, of every backend and head dim.
func TestBackendsKeepTheirPromises(t *testing.T) {
	for _, target := range Targets() {
		for d := 16; d <= 256; d += 16 {
			t.Run(fmt.Sprintf("%s/D%d", target, d), func(t *testing.T) {
				tile, err := TileFor(target, d)
				require.NoError(t, err)
				layer := schedules(tile)
				require.Equal(t, lower.ListTile, layer[0].Tile)
				groups, err := Groups(layer, Config{HeadDim: d, DType: abi.BF16, Target: target})
				require.NoError(t, err)
				require.Equal(t, []int{0, 1, 2, 3}, groups[0].Schedules)
				require.True(t, groups[0].Lists)
				for n, g := range groups {
					require.Len(t, g.Tiles, len(g.Schedules))
					for i, s := range g.Schedules {
						lists := len(layer[s].Lists()) > 0
						require.True(t, g.Lists || !lists, "lists in a group for ranges")
						if n > 0 || lists {
							require.Equal(t, layer[s].Tile, g.Tiles[i], "without lists, and with them, a schedule is cut as in its own kernel")
						}
					}
				}
			})
		}
	}
}

// A layer without lists is one kernel, of blocks as in the kernels of its schedules.
func TestLayersOfRangesAreOneKernel(t *testing.T) {
	for _, target := range Targets() {
		tile, err := TileFor(target, 128)
		require.NoError(t, err)
		layer := schedules(tile)
		groups, err := Groups([]*ir.Schedule{layer[1], layer[3]}, Config{HeadDim: 128, DType: abi.BF16, Target: target})
		require.NoError(t, err)
		require.Equal(t, []Grouping{{Schedules: []int{0, 1}, Tiles: []ir.Tile{layer[1].Tile, layer[3].Tile}}}, groups)
	}
}

// Only sm_80 has blocks that ranges do not fit well beside lists: it makes a second kernel, for launches that read none.
func TestRangesBesideLists(t *testing.T) {
	for target, kernels := range map[string]map[int]int{"sm_80": {64: 2, 112: 2, 128: 2, 192: 2, 256: 1}, "sm_90a": {64: 1, 128: 1, 256: 1}} {
		for d, want := range kernels {
			tile, err := TileFor(target, d)
			require.NoError(t, err)
			groups, err := Groups(schedules(tile), Config{HeadDim: d, DType: abi.F16, Target: target})
			require.NoError(t, err)
			require.Len(t, groups, want, "%s, head dim %d", target, d)
			if want == 2 {
				require.Equal(t, []int{1, 3}, groups[1].Schedules)
				require.False(t, groups[1].Lists)
			}
		}
	}
}

// A group whose parameters do not fit a launch becomes kernels of neighbours, each with all sections of its own.
func TestGroupsAreHalvedUntilTheyFit(t *testing.T) {
	cfg := Config{HeadDim: 64, DType: abi.BF16, Target: "sm_80"}
	tile, err := TileFor(cfg.Target, cfg.HeadDim)
	require.NoError(t, err)
	layer := []*ir.Schedule{}
	for range 300 {
		layer = append(layer, schedules(tile)[1])
	}
	groups, err := Groups(layer, cfg)
	require.NoError(t, err)
	kernels, err := Group(layer, groups[0], cfg)
	require.NoError(t, err)
	sections := 0
	for _, k := range kernels {
		sections += len(k.Sections)
	}
	require.Greater(t, len(kernels), 1)
	require.Equal(t, len(layer), sections)
}

func TestRefusals(t *testing.T) {
	for want, cfg := range map[string]Config{
		"head dim 40 is not supported":     {HeadDim: 40, DType: abi.BF16, Target: "sm_80"},
		`target "sm_70" is not supported`:  {HeadDim: 64, DType: abi.BF16, Target: "sm_70"},
		`data type "fp8" is not supported`: {HeadDim: 64, DType: "fp8", Target: "sm_90a"},
	} {
		_, err := Groups(nil, cfg)
		require.ErrorContains(t, err, want)
		_, err = Attention(&ir.Schedule{}, cfg)
		require.ErrorContains(t, err, want)
	}
	s := &ir.Schedule{Name: "p", Tile: ir.Tile{Rows: 32, Keys: 32}}
	_, err := Attention(s, Config{HeadDim: 64, DType: abi.BF16, Target: "sm_80"})
	require.EqualError(t, err, "internal: schedule p is cut to 32x32 tiles, sm_80 wants 128x128 for head dim 64")
}
