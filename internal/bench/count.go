package bench

import (
	"fmt"

	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/ir"
)

// Count is the work of one (batch, head) of a launch.
type Count struct {
	Pairs int64 // kept query-key pairs
	Tiles int64 // row tile x key tile steps that the kernel computes
}

// CountWork counts what a launch of s keeps and computes, in closed form (package cost). values holds every parameter, as
// ir.CheckLaunch returns them.
func CountWork(s *ir.Schedule, values map[string]int64, shape ir.Shape) (Count, error) {
	if err := checkStatic(s); err != nil {
		return Count{}, err
	}
	params := map[string]int64{}
	for _, p := range s.Params {
		params[p.Name] = values[p.Name]
	}
	// One head of any head dim and type: tiles and pairs do not depend on them.
	c, err := cost.Count(cost.Work{HeadDim: 64, DType: "bf16", RowTile: s.Tile.Rows, KeyTile: s.Tile.Keys, Batch: 1, QHeads: 1, KVHeads: 1,
		SeqQ: shape.Sq, SeqK: shape.Sk, QOffset: shape.QOffset, Schedule: s, Params: params})
	if err != nil {
		return Count{}, err
	}
	return Count{Pairs: c.Pairs(), Tiles: c.Tiles()}, nil
}

// checkStatic refuses schedules whose work only the data knows.
func checkStatic(s *ir.Schedule) error {
	if len(s.Index) > 0 {
		return fmt.Errorf("what %s keeps is decided by the data, want a static pattern: its tiles cannot be counted before it runs", s.Name)
	}
	return nil
}
