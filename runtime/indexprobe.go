package runtime

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/minfc/minfc/ir"
)

// Probes: which query rows are looked at, in launches of how many blocks, and for how many heads at a time.

// probeRows is how many rows one launch of a probe looks at. The kernels for exactly the last of them are the fastest; the
// spread ones take any that lie a step apart, in as many parts as it needs.
const probeRows = 64

// indexProbe is a probe whose sums decide: of the last rows, or of every stride-th where last is nil.
type indexProbe struct {
	name         string
	last, stride *ir.Poly
}

// planProbe follows a sum to its probe, and returns its number.
func (p *indexPlan) planProbe(sum ir.Sum, defs map[string]ir.Index) (int, error) {
	soft, ok := defs[sum.Of].(ir.Softmax)
	if !ok {
		return 0, fmt.Errorf("internal: a sum of %T", defs[sum.Of])
	}
	probe, ok := defs[soft.Of].(ir.Probe)
	if !ok {
		return 0, fmt.Errorf("internal: a softmax of %T", defs[soft.Of])
	}
	i := slices.IndexFunc(p.probes, func(x indexProbe) bool { return x.name == soft.Of })
	if i < 0 {
		i = len(p.probes)
		p.probes = append(p.probes, indexProbe{soft.Of, probe.Last, probe.Stride})
	}
	return i, nil
}

// spread says whether the probe is not known to be the last probeRows rows.
func (p indexProbe) spread() bool {
	if p.last == nil {
		return true
	}
	n, constant := p.last.Const()
	return !constant || n != probeRows
}

func (p indexProbe) statsStage() string {
	if p.spread() {
		return StageProbeStatsSpread
	}
	return StageProbeStats
}

func (p indexProbe) sumsStage() string {
	if p.spread() {
		return StageProbeSumsSpread
	}
	return StageProbeSums
}

// probeCall is a probe in numbers.
type probeCall struct {
	indexProbe
	row0, step, rows int
	heads            int // q heads that a block takes
}

// planProbes puts numbers to the probes and cuts the heads into slices.
func (x *indexCall) planProbes(k *LoadedKernel) error {
	for _, p := range k.plan.probes {
		c := probeCall{indexProbe: p, row0: max(0, x.SeqQ-probeRows), step: 1, rows: min(x.SeqQ, probeRows), heads: 1}
		if s := k.stage(p.statsStage(), x.sharers); s != nil {
			c.heads = s.Heads
		}
		if p.spread() {
			if err := c.number(x.call); err != nil {
				return err
			}
		}
		x.probes = append(x.probes, c)
	}
	x.slice()
	return nil
}

// number evaluates the polynomials of a probe.
func (p *probeCall) number(c *call) error {
	what := p.last
	if what == nil {
		what = p.stride
	}
	v, err := what.Eval(c.values)
	n := int(min(max(v, 1), ir.MaxParam))
	if err != nil {
		n = ir.MaxParam // larger than any length
	}
	if p.last != nil {
		p.rows = min(n, c.SeqQ)
		p.row0 = c.SeqQ - p.rows
		return nil
	}
	p.row0, p.rows, p.step = 0, ceilDiv(c.SeqQ, n), n
	if p.rows == 1 {
		p.step = 1 // there is no other row
	}
	if p.step > maxStep {
		return badCall("a probe of every %d-th query is not supported, want at most every %d-th", p.step, maxStep)
	}
	return nil
}

// maxStep keeps the keys of a tile that is partly beyond the last one below 2^31.
const maxStep = 1 << 23

// probePart is up to probeRows rows of a probe: those of one launch.
type probePart struct {
	row0, rows        int
	classTiles, tiles int // of keys that lie a step apart, of one class and of all; see spread.go in package index
}

// parts cuts the rows of a probe.
func (p *probeCall) parts(c *call) []probePart {
	if !p.spread() {
		return []probePart{{row0: p.row0, rows: p.rows, tiles: blocksOf(c.SeqK)}}
	}
	var out []probePart
	for from := 0; from < p.rows; from += probeRows {
		part := probePart{row0: p.row0 + from*p.step, rows: min(probeRows, p.rows-from)}
		visible := min(c.SeqK, c.QOffset+part.row0+(part.rows-1)*p.step+1)
		part.classTiles, part.tiles = p.tilesOf(visible, c.QOffset+part.row0)
		out = append(out, part)
	}
	return out
}

// tilesOf counts the tiles of keys that lie a step apart, for queries from position q0 on. A class gets one more where its
// distances reach beyond its keys.
func (p *probeCall) tilesOf(keys, q0 int) (class, all int) {
	class = max(1, blocksOf(ceilDiv(keys, p.step)))
	if q0-probeRows*p.step*(class-1) >= p.step {
		class++
	}
	return class, class * min(p.step, keys)
}

// massUnit is the parameter unit of select_mass: the sums of a probe hold at most 1 for each of its rows, and some rounding.
func (p *probeCall) massUnit() int { return 52 - 1 - bits.Len(uint(max(p.rows, 1))) }

// probeGeometry is how a launch of the probe is cut into blocks.
type probeGeometry struct {
	grid       [3]int
	chunkTiles int // tiles of 64 keys of a block
	room       int // for as many chunks as this and all shorter inputs have
}

// chunks cuts the tiles of a probe. It looks at the shape of one batch entry, whatever is launched at a time, so that every GPU
// and every batch adds in one order.
func (x *indexCall) chunks(p *probeCall, tiles int) probeGeometry {
	rows := x.KVHeads * ceilDiv(x.QHeads/x.KVHeads, p.heads)
	tiles = max(1, tiles)
	n := longestChunk
	for n > shortestChunk && ceilDiv(tiles, n)*rows < fullGrid {
		n /= 2
	}
	// A shorter chunk is taken where twice its length makes less than a full grid, so there are fewer than two full grids.
	few := min(ceilDiv(tiles, shortestChunk), ceilDiv(2*fullGrid, rows))
	return probeGeometry{[3]int{ceilDiv(tiles, n), rows, 1}, n, max(ceilDiv(tiles, longestChunk), few)}
}
