package job

import (
	"github.com/minfc/minfc/internal/summary"
	"github.com/minfc/minfc/runtime"
)

// skipped is what a run says of the tiles that its heads left out; nil where no pattern has a skip.
func (j *Job) skipped(res runtime.HostResult) *summary.Skipped {
	if res.Skipped == nil {
		return nil
	}
	var tiles, left []int
	for _, s := range res.Skipped {
		tiles, left = append(tiles, s.Tiles), append(left, s.Left)
	}
	return summary.NewSkipped(tiles, left, j.In.QHeads)
}
