package passes

import "fmt"

// setTile sets the size that the caller chose. It depends on the target and the head dim, which a pattern does not know.
func setTile(u *Unit) error {
	if u.tile.Rows < 1 || u.tile.Keys < 1 {
		return fmt.Errorf("internal: no tile size was given (%dx%d)", u.tile.Rows, u.tile.Keys)
	}
	u.Schedule.Tile = u.tile
	return nil
}
