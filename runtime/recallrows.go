package runtime

import (
	"math/rand/v2"

	"github.com/minfc/minfc/runtime/device"
)

// RowRange are query rows of a call: Count of them, Step apart, from First on.
type RowRange struct{ First, Step, Count int }

// SampledRows is how many rows of a head a recall looks at unless it is told: what one launch looks at. docs/recall.md has what they cost.
const SampledRows = 64

// SampleRows spreads up to count rows evenly over the seqQ rows of a call. The seed decides where the first one lies.
func SampleRows(seqQ, count int, seed uint64) RowRange {
	count = min(count, seqQ)
	if count < 1 {
		return RowRange{}
	}
	step := seqQ / count
	room := seqQ - step*(count-1)
	return RowRange{rand.New(rand.NewPCG(seed, uint64(seqQ))).IntN(room), step, count}
}

// check says whether a call of seqQ rows has the rows.
func (r RowRange) check(seqQ int) error {
	if r.Count < 1 || r.Step < 1 || r.First < 0 || r.First >= seqQ || (r.Count-1) > (seqQ-1-r.First)/r.Step {
		return device.BadCall("the recall is to look at %d rows from row %d on, %d apart, and the call has the rows 0 to %d", r.Count, r.First, r.Step, seqQ-1)
	}
	return nil
}

// pieces are the rows as launches take them, most rows each.
func (r RowRange) pieces(most int) (out []RowRange) {
	for at := 0; at < r.Count; at += most {
		piece := RowRange{r.First + at*r.Step, r.Step, min(most, r.Count-at)}
		if piece.Count == 1 {
			piece.Step = 1 // there is no next row
		}
		out = append(out, piece)
	}
	return out
}
