package runtime

import (
	"encoding/binary"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime/device"
)

// Skipped is what a launch left out of one head whose pattern has a skip. A tile is the keys of a step for the query rows that are left out
// together, of a warp or a warpgroup. Heads that ran dense, and heads whose pattern has no skip, met none.
type Skipped struct {
	Tiles int // that the warps of the head met
	Left  int // of them, left out
}

// Share is the part of the tiles that was left out, 0 where there were none.
func (s Skipped) Share() float64 {
	if s.Tiles == 0 {
		return 0
	}
	return float64(s.Left) / float64(s.Tiles)
}

// ReadSkipped waits for the stream and reads what the last run with these pointers left out, [Batch * QHeads]; nil if no pattern of the call
// has a skip. The workspace must not have served another run since.
func (p *Prepared) ReadSkipped(s device.Stream, at Pointers) (out []Skipped, err error) {
	if err := p.Check(at); err != nil || p.idle() {
		return nil, err
	}
	for _, part := range p.parts {
		if part.bound == nil || part.pattern.schedule.Skip == nil {
			continue
		}
		if out == nil {
			out = make([]Skipped, p.call.Batch*p.call.QHeads)
		}
		if part.bound.routing == allDense {
			continue
		}
		own, err := part.readSkipped(p.dev, s, at.Workspace)
		if err != nil {
			return nil, part.wrap(err)
		}
		spread(part, own, out)
	}
	return out, nil
}

// readSkipped reads the numbers of all heads that the part spans.
func (p *preparedPart) readSkipped(dev device.Device, s device.Stream, workspace device.Ptr) ([]Skipped, error) {
	x := p.bound
	data := make([]byte, abi.SkipBytes*x.heads())
	if err := dev.CopyToHost(data, workspace+device.Ptr(x.at("skips")), s); err != nil {
		return nil, err
	}
	out := make([]Skipped, x.heads())
	for h := range out {
		word := func(i int) int { return int(binary.LittleEndian.Uint32(data[abi.SkipBytes*h+4*i:])) }
		out[h] = Skipped{Tiles: word(0), Left: word(1)}
	}
	return out, nil
}
