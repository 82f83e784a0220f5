package cost

import "fmt"

// body is how a backend cuts up one range of head dims: what the price of a tile depends on beside its area.
type body struct {
	target     string
	maxHeadDim int
	rows, keys int
	warps      int // of a block
	blocks     int // an SM
}

// bodies are the kernels of each backend; a test compares them with what codegen emits.
var bodies = []body{
	{"sm_80", 64, 128, 128, 4, 2},
	{"sm_80", 96, 128, 64, 4, 2},
	{"sm_80", 112, 64, 64, 4, 3},
	{"sm_80", 128, 128, 64, 4, 2},
	{"sm_80", 192, 128, 64, 8, 1},
	{"sm_80", 256, 64, 64, 4, 2},
	{"sm_90a", 64, 192, 128, 16, 1},
	{"sm_90a", 128, 128, 128, 12, 1},
	{"sm_90a", 192, 128, 96, 12, 1},
	{"sm_90a", 256, 128, 80, 12, 1},
}

func bodyFor(target string, w Work) (body, error) {
	b, err := bodyOf(bodies, target, w.HeadDim)
	if err == nil && (b.rows != w.RowTile || b.keys != w.KeyTile) {
		return body{}, fmt.Errorf("%s kernels for head dim %d have tiles of %dx%d, the schedule is cut to %dx%d",
			target, w.HeadDim, b.rows, b.keys, w.RowTile, w.KeyTile)
	}
	return b, err
}

// Geometry is the block of a target's kernel for w: its threads, and how many blocks an SM holds at a time.
func Geometry(target string, w Work) (threads, blocks int, err error) {
	b, err := bodyFor(target, w)
	return 32 * b.warps, b.blocks, err
}

// schedulers is the number of warp schedulers of a multiprocessor.
const schedulers = 4

// flops is the work of both products on one tile.
func (b body) flops(headDim int) float64 { return 4 * b.area() * float64(headDim) }

// area is the number of pairs of a tile.
func (b body) area() float64 { return float64(b.rows * b.keys) }

// loads is the number of ldmatrix.x4 on one tile, of all warps. For each 16 columns of the head dim a warp reads its strips
// of Q, and for each 16 keys a fragment of K and one of V: the fewer strips a warp has, the less a fragment is used.
func (b body) loads(headDim int) float64 {
	strips := b.rows / (16 * b.warps)
	return float64(b.warps * headDim / 16 * (strips + 2*(b.keys/16)))
}
