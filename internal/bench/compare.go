package bench

import (
	"fmt"
	"maps"
)

// Ratio is how many times faster our kernel is than a peer's.
type Ratio struct {
	Row         Row // the peer's
	Faster      float64
	SameProcess bool // both were timed in the peer's process, in the same rounds
}

// Compare finds for each row of the report the peers' rows of the same case, in the peers' order. The result has one list
// a row of r. Peers of another call or workload are an error: a ratio between different inputs means nothing.
//
// When the peers' file also timed the very kernel of the row (the same PTX), that time is used: it was taken in the same
// rounds, so the card's clocks drop out.
func Compare(r, peers *Report) ([][]Ratio, error) {
	if err := comparable(r, peers); err != nil {
		return nil, err
	}
	out := make([][]Ratio, len(r.Rows))
	for i, row := range r.Rows {
		if row.Failure != "" {
			continue
		}
		ms, same := row.TotalMS, false
		for _, p := range peers.Rows {
			if p.Ours() && p.Failure == "" && row.Kernel != "" && p.Kernel == row.Kernel && sameCase(p, row) {
				ms, same = p.TotalMS, true
			}
		}
		for _, p := range peers.Rows {
			if !p.Ours() && p.Failure == "" && sameCase(p, row) {
				out[i] = append(out[i], Ratio{p, p.TotalMS / ms, same})
			}
		}
	}
	return out, nil
}

func sameCase(a, b Row) bool {
	return a.Pattern == b.Pattern && a.SeqLen == b.SeqLen && maps.Equal(a.Params, b.Params)
}

func comparable(r, peers *Report) error {
	for _, c := range []struct {
		what       string
		ours, them any
	}{
		{"machine", r.Machine.Name, peers.Machine.Name},
		{"call", r.Call, peers.Call},
		{"workload", r.Workload.what(), peers.Workload.what()},
	} {
		if c.ours != c.them {
			return fmt.Errorf("the peers were measured with the %s %v, this run has %v; measure both alike", c.what, c.them, c.ours)
		}
	}
	return nil
}

// Failures lists the rows that have no figures, as sentences.
func (r *Report) Failures() (out []string) {
	for _, row := range r.Rows {
		if row.Failure != "" {
			out = append(out, fmt.Sprintf("%s, length %d, %s: %s", row.Label(), row.SeqLen, row.Implementation, row.Failure))
		}
	}
	return out
}
