package passes

import (
	"fmt"

	"github.com/minfc/minfc/ir"
)

// setTile sets the size that the caller chooses. It depends on the target and the head dim, which a pattern does not know, and on whether
// lists are read, which is known once the set has become bands: the rest of a pattern may keep all that data could choose.
func setTile(u *Unit) error {
	var tile ir.Tile
	if u.tile != nil {
		tile = u.tile(u.Schedule)
	}
	switch {
	case tile.Rows < 1 || tile.Keys < 1:
		return fmt.Errorf("internal: no tile size was given (%dx%d)", tile.Rows, tile.Keys)
	case len(u.Schedule.Lists()) > 0 && tile.Rows != ir.BlockSize:
		return fmt.Errorf("the tile has %d rows, but what the data chooses is listed for blocks of %d rows; use a target with such tiles",
			tile.Rows, ir.BlockSize)
	}
	u.Schedule.Tile = tile
	return nil
}
