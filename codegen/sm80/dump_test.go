package sm80

import (
	"os"
	"strconv"
	"testing"

	"github.com/minfc/minfc/codegen/lower"
	"github.com/minfc/minfc/ir"
)

func TestDump(t *testing.T) {
	for _, d := range []int{32, 64, 96, 128, 192, 256} {
		s := &ir.Schedule{Name: "a_shape", Params: []ir.Param{{Name: "sink", Default: 128}, {Name: "window", Default: 1024, Min: 1}}, Tile: TileFor(d), Order: ir.OrderLongestFirst,
			Segments: []ir.Segment{
				{Lo: []ir.Bound{{Row: true, Off: ir.Int(1).Sub(ir.Var("window"))}}, Hi: []ir.Bound{{Row: true, Off: ir.Int(1)}}, Hop: -1},
				{Hi: []ir.Bound{{Off: ir.Var("sink")}, {Row: true, Off: ir.Int(1).Sub(ir.Var("window"))}}, Hop: -1},
			}}
		k, err := Attention(s, lower.Config{HeadDim: d, DType: lower.BF16, Target: "sm_80"})
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile("/tmp/cg/a"+strconv.Itoa(d)+".ll", []byte(k.Module.String()), 0o644)
	}
}
