package summary

import "fmt"

// Skipped is the share of the tiles that kernels left out because their weights were negligible (docs/skip.md).
type Skipped struct {
	Share    Share   `json:"share"` // of the tiles of all heads
	Tiles    int     `json:"tiles"` // that all heads met
	Heads    []Share `json:"heads"` // of each head, one batch entry after the other; 0 of a head that met none
	PerEntry int     `json:"-"`     // heads of a batch entry
}

// NewSkipped sums up what each head met and left out, perEntry heads a batch entry.
func NewSkipped(tiles, left []int, perEntry int) *Skipped {
	s, all := &Skipped{PerEntry: perEntry}, 0
	for h, n := range tiles {
		s.Tiles, all = s.Tiles+n, all+left[h]
		s.Heads = append(s.Heads, part(left[h], n))
	}
	s.Share = part(all, s.Tiles)
	return s
}

func part(n, of int) Share {
	if of == 0 {
		return 0
	}
	return Share(n) / Share(of)
}

func (s *Skipped) String() string {
	return fmt.Sprintf("%.2f %% of %d tiles left out", 100*s.Share, s.Tiles)
}

// byHead lists the shares of the heads, as Recall does.
func (s *Skipped) byHead() []string { return listed(s.Heads, s.PerEntry) }
