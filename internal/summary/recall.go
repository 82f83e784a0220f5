package summary

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Share is a number from 0 to 1, or no number where the input is none: null in JSON.
type Share float64

// MarshalJSON is the number, or null.
func (s Share) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(s)) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(s))
}

// Recall is the share of the attention mass that the kept pairs hold, mean over sampled rows; docs/recall.md defines it.
type Recall struct {
	Mean     Share   `json:"mean"`         // of all heads
	Least    Share   `json:"least"`        // of a head
	Heads    []Share `json:"heads"`        // of each head, one batch entry after the other
	Sampled  int     `json:"sampled_rows"` // query rows of each head that were looked at
	Rows     int     `json:"-"`            // that there are
	PerEntry int     `json:"-"`            // heads of a batch entry
}

// NewRecall sums up heads, perEntry of them a batch entry. There is one at least.
func NewRecall(heads []float32, perEntry, sampled, rows int) *Recall {
	r := &Recall{Least: Share(heads[0]), Sampled: sampled, Rows: rows, PerEntry: perEntry}
	for _, x := range heads {
		r.Heads = append(r.Heads, Share(x))
		r.Mean, r.Least = r.Mean+Share(x)/Share(len(heads)), min(r.Least, Share(x))
	}
	return r
}

func (r *Recall) String() string {
	text := fmt.Sprintf("%.2f %% of the attention", 100*r.Mean)
	if len(r.Heads) > 1 {
		text += fmt.Sprintf(", least %.2f %% in %s", 100*r.Least, r.least())
	}
	if r.Sampled < r.Rows {
		text += fmt.Sprintf(", from %d of %d rows", r.Sampled, r.Rows)
	}
	return text
}

// least names the head that keeps least, or the first without a number.
func (r *Recall) least() string {
	h := slices.IndexFunc(r.Heads, func(x Share) bool { return x == r.Least || math.IsNaN(float64(x)) })
	if len(r.Heads) > r.PerEntry {
		return fmt.Sprintf("head %d of batch entry %d", h%r.PerEntry, h/r.PerEntry)
	}
	return fmt.Sprintf("head %d", h)
}

// headsOfLine is how many heads a line lists.
const headsOfLine = 8

// byHead lists the shares of the heads.
func (r *Recall) byHead() []string { return listed(r.Heads, r.PerEntry) }

// listed lists shares of heads in percent, some a line, each line with the number of its first head; nothing where there is only one head.
func listed(heads []Share, perEntry int) (out []string) {
	if len(heads) == 1 {
		return nil
	}
	for entry := 0; entry < len(heads); entry += perEntry {
		for first := 0; first < perEntry; first += headsOfLine {
			last := min(first+headsOfLine, perEntry) - 1
			name := fmt.Sprintf("heads %d-%d", first, last)
			if first == last {
				name = fmt.Sprintf("head %d", first)
			}
			if len(heads) > perEntry {
				name = fmt.Sprintf("batch entry %d, %s", entry/perEntry, name)
			}
			var cells []string
			for _, x := range heads[entry+first : entry+last+1] {
				cells = append(cells, fmt.Sprintf("%.2f", 100*x))
			}
			out = append(out, name+": "+strings.Join(cells, " "))
		}
	}
	return out
}
