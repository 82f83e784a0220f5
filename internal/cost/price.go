package cost

import (
	"fmt"
	"math"
)

// Price is what c costs on m. The error says that m has no kernel for the tile.
func (m Machine) Price(c *Counts) (Prediction, error) {
	w := c.work
	b, err := bodyFor(m.Target, w)
	if err != nil {
		return Prediction{}, err
	}
	if m.Multiprocessors < 1 {
		return Prediction{}, fmt.Errorf("machine %s has %d multiprocessors, want at least 1", m.Name, m.Multiprocessors)
	}
	heads := int64(w.Batch) * int64(w.QHeads)
	p := Prediction{FullTiles: heads * c.total.full, EdgeTiles: heads * c.total.edge, KeptPairs: heads * c.pairs}
	p.Tiles64 = ((p.FullTiles+p.EdgeTiles)*int64(b.Rows*b.Keys) + 4095) / 4096
	p.Parts = m.parts(c, b)
	p.Bound, p.Milliseconds = p.Parts.bound(), p.Parts.sum()
	return p, nil
}

// parts splits the time of the launch.
func (m Machine) parts(c *Counts, b body) Parts {
	u := m.unit(b, c.work.HeadDim, b.BlocksPerSM)
	scale := c.copies() * 1e-6 / float64(m.Multiprocessors) // from nanoseconds of one head and one multiprocessor to milliseconds
	edge, all := scale*float64(c.total.edge), scale*float64(c.total.full+c.total.edge)
	p := Parts{
		Tensor: all * u.tensor, Loads: all * u.loads, Softmax: all * u.softmax, Tiles: all * m.Rates.TileNanos,
		Masks: edge * u.mask, RowTiles: scale * float64(len(c.rows)) * m.Rates.RowNanos,
	}
	busy := p.sum()
	end := m.crew(b, c.work.HeadDim).makespan(c.rows, c.work.Batch*c.work.QHeads, func(r rowTile) float64 {
		return float64(r.full+r.edge)*u.tile() + float64(r.edge)*u.mask + m.Rates.RowNanos
	})
	p.Idle = max(0, end*1e-6-busy)
	p.Memory = max(0, m.memory(c)-busy-p.Idle)
	p.Launch = m.LaunchMicros / 1e3
	return p
}

// unit is the price of one tile in nanoseconds of a multiprocessor.
type unit struct{ tensor, loads, softmax, mask, fixed float64 }

// tile is the price without a mask.
func (u unit) tile() float64 { return u.tensor + u.loads + u.softmax + u.fixed }

// unit prices a tile on a multiprocessor that holds so many blocks. The softmax is what the products of other warps do
// not hide, so all of it where each scheduler has one warp only.
func (m Machine) unit(b body, headDim, blocks int) unit {
	r := m.Rates
	u := unit{
		tensor: b.flops(headDim) / r.TensorTFLOPS / 1e3,
		loads:  b.loads(headDim) * r.LoadNanos,
		mask:   b.area() * r.MaskPicos / 1e3,
		fixed:  r.TileNanos,
	}
	products, softmax, overlap := u.tensor+u.loads, b.area()*r.SoftmaxPicos/1e3, r.Overlap
	if b.Warps*blocks <= schedulers {
		overlap = 1
	}
	u.softmax = math.Pow(math.Pow(products, overlap)+math.Pow(softmax, overlap), 1/overlap) - products
	return u
}

// crew is the multiprocessors of m. Blocks that share one have equal parts of it; fewer of them use it less well.
func (m Machine) crew(b body, headDim int) crew {
	full := m.unit(b, headDim, b.BlocksPerSM).tile()
	c := crew{size: m.Multiprocessors}
	for n := 1; n <= b.BlocksPerSM; n++ {
		c.speeds = append(c.speeds, full/m.unit(b, headDim, n).tile()/float64(n))
	}
	return c
}

// memory is the milliseconds to move every input and output once.
func (m Machine) memory(c *Counts) float64 {
	w := c.work
	rows := c.copies() * float64(w.SeqQ) * 2                            // Q and O
	keys := float64(w.Batch) * float64(w.KVHeads) * 2 * float64(c.keys) // K and V
	return (rows + keys) * float64(w.HeadDim) * 2 / m.MemoryGBs / 1e6
}
