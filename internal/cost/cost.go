// Package cost predicts how long an attention kernel runs: it counts a schedule's key tiles and prices them with the
// measured rates of a machine. It needs no GPU.
//
// docs/cost.md has the model, its reasons and its errors.
package cost

import (
	"fmt"
	"math"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Work is one launch of an attention kernel.
type Work struct {
	HeadDim          int       // elements: a multiple of 16 from 16 to 256
	DType            abi.DType // all types of a size run at the same rates
	RowTile, KeyTile int       // the schedule's tile: queries of a block, keys of a step

	Batch, QHeads, KVHeads int
	SeqQ, SeqK, QOffset    int // query i sits at position QOffset+i

	Schedule *ir.Schedule
	Params   map[string]int64 // launch parameters; what is left out has its default
}

// Prediction is the price of a launch. It counts the tiles and pairs of all heads and batches.
type Prediction struct {
	Milliseconds float64
	FullTiles    int64  // of RowTile x KeyTile, every pair kept
	EdgeTiles    int64  // of RowTile x KeyTile, masked
	Tiles64      int64  // the same area in tiles of 64 x 64, rounded up
	KeptPairs    int64  // pairs of query and key that the schedule keeps
	Bound        string // what limits, in words: device memory, or else the largest of Parts
	Parts        Parts
}

// Parts says where the milliseconds go; their sum is Prediction.Milliseconds.
type Parts struct {
	Tensor   float64 // the two products
	Loads    float64 // shared memory to registers, as far as the products do not hide it
	Softmax  float64 // as far as the products do not hide it
	Masks    float64 // of edge tiles
	Tiles    float64 // barriers and stepping, once a tile
	RowTiles float64 // reading Q, the first K, normalising and writing O, once a row tile
	Idle     float64 // multiprocessors without work: uneven or too few row tiles
	Memory   float64 // waiting for device memory, where that is slower than all the rest
	Launch   float64
}

// parts names the fields of Parts, in their order.
func (p Parts) parts() []struct {
	name string
	ms   float64
} {
	return []struct {
		name string
		ms   float64
	}{
		{"tensor cores", p.Tensor}, {"shared memory", p.Loads}, {"softmax", p.Softmax}, {"masks", p.Masks},
		{"tile overhead", p.Tiles}, {"row tile overhead", p.RowTiles}, {"idle multiprocessors", p.Idle},
		{"device memory", p.Memory}, {"launch", p.Launch},
	}
}

// bound is the name of the largest part, unless all of them wait for memory.
func (p Parts) bound() string {
	if p.Memory > 0 {
		return "device memory"
	}
	best, most := "", math.Inf(-1)
	for _, x := range p.parts() {
		if x.ms > most {
			best, most = x.name, x.ms
		}
	}
	return best
}

func (p Parts) sum() float64 {
	total := 0.0
	for _, x := range p.parts() {
		total += x.ms
	}
	return total
}

// Predict prices w on m. Errors say what of w cannot be launched, or which tile m has no kernel for.
func Predict(m Machine, w Work) (Prediction, error) {
	c, err := Count(w)
	if err != nil {
		return Prediction{}, err
	}
	return m.Price(c)
}

// maxLength bounds lengths and offsets, as the runtime does.
const maxLength = ir.MaxParam

func (w Work) check() error {
	for _, x := range []struct {
		name      string
		value, at int
	}{
		{"batch", w.Batch, 1}, {"the number of q heads", w.QHeads, 1}, {"the number of kv heads", w.KVHeads, 1},
		{"the number of queries", w.SeqQ, 1}, {"the number of keys", w.SeqK, 1}, {"q_offset", w.QOffset, 0},
	} {
		if x.value < x.at || x.value > maxLength {
			return fmt.Errorf("%s is %d, want %d to %d", x.name, x.value, x.at, maxLength)
		}
	}
	switch {
	case w.QHeads%w.KVHeads != 0:
		return fmt.Errorf("%d q heads cannot share %d kv heads: want a multiple", w.QHeads, w.KVHeads)
	case abi.CheckHeadDim(w.HeadDim) != nil:
		return abi.CheckHeadDim(w.HeadDim)
	case w.DType.Check() != nil:
		return w.DType.Check()
	case w.Schedule == nil:
		return fmt.Errorf("the work has no schedule")
	case w.Schedule.Tile != ir.Tile{Rows: w.RowTile, Keys: w.KeyTile}:
		return fmt.Errorf("the schedule is cut to %dx%d tiles, the work says %dx%d",
			w.Schedule.Tile.Rows, w.Schedule.Tile.Keys, w.RowTile, w.KeyTile)
	case w.RowTile < 1 || w.KeyTile < 1:
		return fmt.Errorf("a tile of %dx%d has no pairs", w.RowTile, w.KeyTile)
	}
	return nil
}
