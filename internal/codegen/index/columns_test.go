package index

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime/device"
)

// TestColumns lists bitmaps of every density and length.
func TestColumns(t *testing.T) {
	k, err := Columns()
	b := newListBench(t, k, err)
	rng := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{1, 33, 64, 1000, 1024, 1025, 33000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := (n + 63) / 64 * 2
			sets := [][]bool{make([]bool, n), every(n, 1, 0), random(rng, n, 2), random(rng, n, 40), random(rng, n, 700), every(n, n, n-1)}
			var bits, want, counts []uint32
			colCap := n + 64
			for _, set := range sets {
				bits = append(bits, bitmap(set, w)...)
				cols := members(set)
				counts = append(counts, uint32(len(cols)))
				for i := range colCap {
					c := uint32(NoColumn)
					if i < len(cols) {
						c = uint32(cols[i])
					}
					want = append(want, c)
				}
			}
			cols, count := b.empty(len(sets)*colCap), b.empty(len(sets))
			b.launch(len(sets), 1, listArgs{"col_bits": words(b, bits), "cols": cols, "col_count": count, "words": w, "col_cap": colCap})
			require.Equal(t, counts, b.read(count, len(sets)))
			require.Equal(t, want, b.read(cols, len(want)))
		})
	}
}

// TestColumnsCap loses the last columns when the list is too short.
func TestColumnsCap(t *testing.T) {
	k, err := Columns()
	b := newListBench(t, k, err)
	bits := bitmap(every(128, 1, 0), 4)
	cols, count := b.empty(2*70), b.empty(2)
	b.launch(2, 1, listArgs{"col_bits": words(b, append(bits, bits...)), "cols": cols, "col_count": count, "words": 4, "col_cap": 70})
	require.Equal(t, []uint32{70, 70}, b.read(count, 2))
	require.EqualValues(t, 69, b.read(cols, 140)[139])
}

// strided is [batch, heads, n, dim] of 16-bit values in memory of its own strides.
type strided struct {
	data             []byte
	batch, head, row int64
	dim              int
}

func newStrided(rng *rand.Rand, batch, heads, n, dim, gap int) strided {
	t := strided{dim: dim, row: int64(2*dim + 16*gap)}
	t.head = t.row*int64(n) + 16*int64(gap)
	t.batch = t.head * int64(heads)
	t.data = make([]byte, t.batch*int64(batch))
	for i := range t.data {
		t.data[i] = byte(rng.Uint32())
	}
	return t
}

func (t strided) at(b, h, i int) []byte {
	o := int64(b)*t.batch + int64(h)*t.head + int64(i)*t.row
	return t.data[o : o+int64(2*t.dim)]
}

func (t strided) upload(b listBench, name string, a listArgs) {
	p := b.empty(len(t.data) / 4)
	require.NoError(b.t, b.dev.CopyToDevice(p, t.data, nil))
	a[name], a[name+"_batch"], a[name+"_head"], a[name+"_row"] = p, t.batch, t.head, t.row
}

// TestCompact gathers rows of every width, with gaps between rows, heads that share K and V, and batches.
func TestCompact(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, dim := range []int{16, 48, 64, 80, 128, 208, 256} {
		for _, gap := range []int{0, 3} {
			t.Run(fmt.Sprintf("%d/%d", dim, gap), func(t *testing.T) {
				k, err := Compact(dim, false)
				testCompact(t, newListBench(t, k, err), rng, dim, gap)
			})
		}
	}
}

func testCompact(t *testing.T, b listBench, rng *rand.Rand, dim, gap int) {
	const batch, hq, group, n, colCap = 2, 4, 2, 300, 192
	keys, values := newStrided(rng, batch, hq/group, n, dim, gap), newStrided(rng, batch, hq/group, n, dim, 2*gap)
	counts := []int32{0, 1, 63, 64, 65, 128, 190, 192}
	var cols []int32
	for _, c := range counts {
		for i := range int32(colCap) {
			if i < c {
				cols = append(cols, int32(rng.IntN(n)))
			} else {
				cols = append(cols, NoColumn)
			}
		}
	}
	size := len(counts) * colCap * dim / 2
	kc, vc := b.marked(size), b.marked(size)
	a := listArgs{"cols": words(b, cols), "col_count": words(b, counts), "kc": kc, "vc": vc, "col_cap": colCap, "group": group, "hq": hq}
	keys.upload(b, "k", a)
	values.upload(b, "v", a)
	b.launch(colCap/abi.CompactRows, len(counts), a)
	for _, c := range []struct {
		from strided
		to   device.Ptr
	}{{keys, kc}, {values, vc}} {
		got := b.read(c.to, size)
		for h, count := range counts {
			for i := range colCap {
				var want []uint32
				for j := range dim / 2 {
					w := marker
					switch {
					case i < int(count):
						w = binary.LittleEndian.Uint32(c.from.at(h/hq, h%hq/group, int(cols[h*colCap+i]))[4*j:])
					case i < (int(count)+63)/64*64:
						w = 0
					}
					want = append(want, w)
				}
				o := (h*colCap + i) * dim / 2
				require.Equal(t, want, got[o:o+dim/2], "head %d, row %d of %d", h, i, count)
			}
		}
	}
}
