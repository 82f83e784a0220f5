package cost

import (
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Prices of patterns that the data decides: of kernels that walk lists of slots of 64 keys, and of the index stage in front.

// ListRates are the prices of what kernels with lists do beside the work of Rates.
type ListRates struct {
	BlockFactor  float64 // a slot of blocks over its share of the tile that Rates price: kernels with lists are cut otherwise
	RunFactor    float64 // the same of runs; stages that are not full are in it
	ColumnFactor float64 // of columns; which of them count is in it
	SlotNanos    float64 // a slot, whatever the head dim: reading its entry, and what a step waits for more than one of ranges does
	RowNanos     float64 // a row block, in place of Rates.RowNanos: finding the prefixes of the lists, too
}

// IndexRates are the prices of the index stage and of what comes with it.
type IndexRates struct {
	KernelMicros float64 // one kernel: a launch, and the latency of what one block a head does alone
	ProbeNanos   float64 // one key under the probe of one q head, at head dim 128
	ScoreNanos   float64 // one block score at head dim 128, its selection included
	IdleNanos    float64 // a block of an attention kernel that leaves at once
}

// h200index is fitted by hand to docs/bench/sm80_dynamic_*.json, which have head dim 128 only: ProbeNanos and KernelMicros to
// Vertical-Slash at 128K and 1M, ScoreNanos to Block-Sparse at 128K. IdleNanos is arithmetic. The stage is sm_80 code for
// every target. Shorter calls are priced too high, which errs towards dense attention: KernelMicros holds what one block a head
// does alone, and that grows with the length.
var h200index = IndexRates{KernelMicros: 9.5, ProbeNanos: 17, ScoreNanos: 1.41, IdleNanos: 200}

// slower is the rates on a machine whose cycles take that much longer; launches do not.
func (r IndexRates) slower(by float64) IndexRates {
	for _, t := range []*float64{&r.ProbeNanos, &r.ScoreNanos, &r.IdleNanos} {
		*t *= by
	}
	return r
}

// slower is the rates on a machine whose cycles take that much longer; factors do not.
func (r ListRates) slower(by float64) ListRates {
	r.SlotNanos *= by
	r.RowNanos *= by
	return r
}

// ListPrices is what the work of a kernel with lists costs, in nanoseconds of one multiprocessor full of blocks.
type ListPrices struct {
	Slot   float64 // 64 rows by 64 keys of a range, of runs or of blocks
	Mask   float64 // what a slot costs more if it is an edge
	Column float64 // 64 rows by 64 columns, begun ones too
	Row    float64 // 64 rows
}

// ListPrices are the prices of the target's kernel for a head dim whose schedule reads lists: of blocks, or of runs and columns alone.
func (m Machine) ListPrices(headDim int, blocks bool) (ListPrices, error) {
	of, err := abi.ListBody(m.Target, headDim, blocks)
	if err != nil {
		return ListPrices{}, err
	}
	b := body{of}
	u, factor := m.unit(b, headDim, b.BlocksPerSM), m.Lists.RunFactor
	if blocks {
		factor = m.Lists.BlockFactor
	}
	part := ir.BlockSize * ir.BlockSize / b.area() // of one step
	slot := func(factor float64) float64 { return factor*part*u.tile() + m.Lists.SlotNanos }
	return ListPrices{Slot: slot(factor), Mask: part * u.mask, Column: slot(m.Lists.ColumnFactor), Row: m.Lists.RowNanos}, nil
}

// RangeNanos is the price of one head of c in a kernel with lists: its row blocks, and the ranges that need no list.
func (p ListPrices) RangeNanos(c *Counts) float64 {
	return float64(c.total.full+c.total.edge)*p.Slot + float64(c.total.edge)*p.Mask + float64(len(c.rows))*p.Row
}

// HeadNanos is the price of one head of c in nanoseconds of one multiprocessor full of blocks.
func (m Machine) HeadNanos(c *Counts) (float64, error) {
	b, err := bodyFor(m.Target, c.work)
	if err != nil {
		return 0, err
	}
	u := m.unit(b, c.work.HeadDim, b.BlocksPerSM)
	return float64(c.total.full+c.total.edge)*u.tile() + float64(c.total.edge)*u.mask + float64(len(c.rows))*m.Rates.RowNanos, nil
}

// IndexWork is what an index stage and the choice behind it do for a launch.
type IndexWork struct {
	Launches    int
	ProbedKeys  float64 // times q heads and batches
	PooledBytes float64 // of q and k
	Scores      float64 // of row blocks with key blocks, times q heads and batches
	IdleBlocks  float64 // of attention kernels, which leave at once
}

// IndexMillis is how long it takes.
func (m Machine) IndexMillis(w IndexWork, headDim int) float64 {
	dim := float64(headDim)
	probe := w.ProbedKeys * m.Index.ProbeNanos * (dim + 64) / (128 + 64) // its softmax and sums do not depend on the head dim
	busy := probe + w.Scores*m.Index.ScoreNanos*dim/128 + w.IdleBlocks*m.Index.IdleNanos
	return float64(w.Launches)*m.Index.KernelMicros/1e3 + busy/float64(m.Multiprocessors)/1e6 + w.PooledBytes/m.MemoryGBs/1e6
}
