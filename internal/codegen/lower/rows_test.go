package lower_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// TestRowAddresses: rows lie where the strides of a call say, also before row 0, from another row on, and beyond 2^32 bytes.
func TestRowAddresses(t *testing.T) {
	const base, batch, head, row = 1 << 33, 5<<32 + 48, 3<<31 + 16, 1 << 30
	params := []lower.Param{{Name: "t", Type: "ptr"}, {Name: "t_batch", Type: "i64"}, {Name: "t_head", Type: "i64"}, {Name: "t_row", Type: "i64"}}
	var args [][]byte
	for _, x := range []uint64{base, batch, head, row} {
		args = append(args, binary.LittleEndian.AppendUint64(nil, x))
	}
	var in []byte
	numbers := make([]int32, 32)
	for i := range numbers {
		numbers[i] = int32(i)
		if i%2 == 1 {
			numbers[i] = -int32(i)
		}
		in = binary.LittleEndian.AppendUint32(in, uint32(numbers[i]))
	}
	plain := func(b *lower.Builder) lower.Rows {
		return b.RowsOf("t", lower.Is(lower.I32(2)), lower.Is(lower.I64(3))).Start()
	}
	for name, c := range map[string]struct {
		rows     func(b *lower.Builder) lower.Rows
		shift    int64
		stride   int64
		negative bool
	}{
		"counted":         {plain, 0, row, false},
		"signed":          {func(b *lower.Builder) lower.Rows { return plain(b).Signed() }, 0, row, true},
		"narrow":          {func(b *lower.Builder) lower.Rows { return plain(b).Narrow() }, 0, row, true},
		"words":           {func(b *lower.Builder) lower.Rows { return plain(b).Words() }, 0, 4, false},
		"from and shift":  {func(b *lower.Builder) lower.Rows { return plain(b).Signed().From(lower.I32(7)).Shift(lower.I64(40)) }, 7*row + 40, row, true},
		"from before all": {func(b *lower.Builder) lower.Rows { return plain(b).Narrow().From(lower.I32(-9)) }, -9 * row, row, true},
	} {
		half := func(high bool) []byte {
			return launchWith(t, 32, in, params, args, func(b *lower.Builder, x lower.Value) lower.Value {
				at := b.Address(c.rows(b).At(x))
				if high {
					at = b.LShr(at, 32)
				}
				return b.Trunc32(at)
			})
		}
		low, high := half(false), half(true)
		for i, n := range numbers {
			if n < 0 && !c.negative {
				continue
			}
			want := base + 3*batch + 2*head + c.shift + int64(n)*c.stride
			got := int64(binary.LittleEndian.Uint32(high[4*i:]))<<32 | int64(binary.LittleEndian.Uint32(low[4*i:]))
			require.Equal(t, want, got, fmt.Sprintf("%s: row %d", name, n))
		}
	}
}

// TestRowBoxes: a box has the numbers themselves, and none of the tensor's parameters, which kernels with tensor maps do not have.
func TestRowBoxes(t *testing.T) {
	b := lower.NewKernel("k", nil, 32, 1)
	row, head, batch := lower.I32(-64), lower.I32(2), lower.I32(3)
	box := b.RowsOf("k", lower.Is(head), lower.Is(batch)).Box(row)
	require.Equal(t, lower.Box{Row: row, Head: head, Batch: batch}, box)
	require.Empty(t, b.Block.Insts)
}
