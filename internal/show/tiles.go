package show

import (
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/codegen"
	"github.com/minfc/minfc/ir"
)

// Tiles are the key tiles that the row tiles of one head walk, by what a kernel does with them.
type Tiles struct {
	Target   string   `json:"target"` // "sm_80"
	Rows     int      `json:"rows"`   // queries of a tile
	Keys     int      `json:"keys"`   // keys of a tile
	RowTiles int      `json:"row_tiles"`
	Full     int64    `json:"full"`    // without a mask: every pair is kept
	Edge     int64    `json:"edge"`    // with a mask
	Skipped  int64    `json:"skipped"` // tiles of dense attention that are not walked
	Dense    int64    `json:"dense"`   // tiles of dense attention
	Bands    []string `json:"bands"`   // the segments of the schedule, a line each

	schedule *ir.Schedule
}

// scheduleFor is the schedule of a pattern on a target.
func (s *subject) scheduleFor(p *ir.Pattern, target string) (*ir.Schedule, error) {
	tile, err := codegen.TileFor(target, HeadDim)
	if err != nil {
		return nil, err
	}
	return s.schedule(p, tile)
}

// tiles counts the tiles of every target.
func (s *subject) tiles() ([]Tiles, error) {
	var out []Tiles
	for _, target := range compile.Targets() {
		schedule, err := s.scheduleFor(s.pattern, target)
		if err != nil {
			return nil, err
		}
		t := Tiles{Target: target, Rows: schedule.Tile.Rows, Keys: schedule.Tile.Keys, RowTiles: ceilDiv(s.n, schedule.Tile.Rows),
			Bands: bands(schedule), schedule: schedule}
		if !s.dynamic() {
			if err := s.countTiles(&t); err != nil {
				return nil, err
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// countTiles counts the tiles of a static schedule beside the tiles of the base.
func (s *subject) countTiles(t *Tiles) error {
	own, err := s.count(t.schedule, 0, s.n, s.n)
	if err != nil {
		return err
	}
	base, err := s.scheduleFor(s.base(), t.Target)
	if err != nil {
		return err
	}
	dense, err := s.count(base, 0, s.n, s.n)
	if err != nil {
		return err
	}
	t.Full, t.Edge, t.Dense = own.FullTiles(), own.Tiles()-own.FullTiles(), dense.Tiles()
	t.Skipped = max(0, t.Dense-own.Tiles()) // bands with little in common may take more than there are
	return nil
}

// HeadWork is what a kernel computes for the generated head of a pattern that data decides.
type HeadWork struct {
	Tiles64 int64 `json:"tiles64"` // tiles of 64 by 64 that are computed
	Dense64 int64 `json:"dense64"` // the same of dense attention
	Pairs   int64 `json:"pairs"`   // pairs that are kept in them
}

// headWork counts it by the lists of the head.
func (s *subject) headWork(h *head, schedule *ir.Schedule) (HeadWork, error) {
	const area = ir.BlockSize * ir.BlockSize
	launched, err := schedule.Bind(h.params)
	if err != nil {
		return HeadWork{}, err
	}
	counter, err := launched.CountWork(h.chosen)
	if err != nil {
		return HeadWork{}, err
	}
	var w HeadWork
	shape := ir.Shape{Sq: h.n, Sk: h.n}
	for i := range ceilDiv(h.n, schedule.Tile.Rows) {
		row := counter.RowTile(shape, i)
		w.Tiles64, w.Pairs = w.Tiles64+row.Area/area, w.Pairs+row.Pairs
	}
	blocks := int64(ceilDiv(h.n, ir.BlockSize))
	if w.Dense64 = blocks * blocks; s.causal {
		w.Dense64 = blocks * (blocks + 1) / 2
	}
	return w, nil
}

// bands are the segments of a schedule.
func bands(schedule *ir.Schedule) (out []string) {
	for _, g := range schedule.Segments {
		out = append(out, band(g))
	}
	return out
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
