package cost

import (
	"fmt"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// body is how a backend cuts up one range of head dims: what the price of a tile depends on beside its area.
type body struct{ abi.Body }

func bodyFor(target string, w Work) (body, error) {
	b, err := abi.RangeBody(target, w.HeadDim)
	if w.Schedule.ByRowBlock() { // means alone: a schedule with other lists is not counted here
		b, err = abi.ListBody(target, w.HeadDim, true)
		b.Keys = ir.BlockSize // a slot, of which a step may have several: it is priced as a step of its own
	}
	if err == nil && (b.Rows != w.RowTile || b.Keys != w.KeyTile) {
		return body{}, fmt.Errorf("%s kernels for head dim %d have tiles of %dx%d, the schedule is cut to %dx%d",
			target, w.HeadDim, b.Rows, b.Keys, w.RowTile, w.KeyTile)
	}
	return body{b}, err
}

// schedulers is the number of warp schedulers of a multiprocessor.
const schedulers = 4

// flops is the work of both products on one tile.
func (b body) flops(headDim int) float64 { return 4 * b.area() * float64(headDim) }

// area is the number of pairs of a tile.
func (b body) area() float64 { return float64(b.Rows * b.Keys) }

// loads is the number of ldmatrix.x4 on one tile, of all warps. For each 16 columns of the head dim a warp reads its strips
// of Q, and for each 16 keys a fragment of K and one of V: the fewer strips a warp has, the less a fragment is used.
func (b body) loads(headDim int) float64 {
	strips := b.Rows / (16 * b.Warps)
	return float64(b.Warps * headDim / 16 * (strips + 2*(b.Keys/16)))
}
