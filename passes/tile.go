package passes

import (
	"fmt"

	"github.com/minfc/minfc/ir"
)

// setTile sets the size that the caller chose. It depends on the target and the head dim, which a pattern does not know.
func setTile(u *Unit) error {
	switch {
	case u.tile.Rows < 1 || u.tile.Keys < 1:
		return fmt.Errorf("internal: no tile size was given (%dx%d)", u.tile.Rows, u.tile.Keys)
	case len(u.Schedule.Index) > 0 && u.tile.Rows != ir.BlockSize:
		return fmt.Errorf("the tile has %d rows, but what the data chooses is listed for blocks of %d rows; use a target with such tiles",
			u.tile.Rows, ir.BlockSize)
	}
	u.Schedule.Tile = u.tile
	return nil
}
