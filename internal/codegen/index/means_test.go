package index

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// Means of 2 by 2 kv heads, for the 3 q heads of each, against float64: zeros where no pool is whole.
func TestMeansOfPools(t *testing.T) {
	for i, dim := range []int{16, 64, 80, 128, 256} {
		for j, pool := range ir.PoolKeys {
			if (i+j)%campaign.Few(4, 1) != 0 {
				continue
			}
			f := []abi.DType{abi.BF16, abi.F16}[(i+j)%2]
			t.Run(fmt.Sprintf("D%d_%s_%d", dim, f, pool), func(t *testing.T) { checkMeans(t, dim, pool, f) })
		}
	}
}

func checkMeans(t *testing.T, dim, pool int, f abi.DType) {
	const batch, kvHeads, group, rows = 2, 2, 3, 4
	r, n := newBlockRig(t), 3*pool-dim/16%2 // two whole pools or three
	k, v := r.tensor(batch, kvHeads, n, dim, f, normal(1)), r.tensor(batch, kvHeads, n, dim, f, normal(2))
	size := batch * kvHeads * group * rows * dim
	kc, vc := r.empty(2*size), r.empty(2*size)
	row := 2 * k.rowElems
	kernel := r.function(Means(dim, f))
	kernel.launch([3]uint32{rows, kvHeads, batch}, kernel.Threads, args{"k": k.ptr, "v": v.ptr, "kc": kc, "vc": vc,
		"k_batch": row * n * kvHeads, "k_head": row * n, "k_row": row, "v_batch": row * n * kvHeads, "v_head": row * n, "v_row": row,
		"sk": n, "pool": pool, "col_cap": rows, "group": group})
	// Half an ulp of the type at 1, which no mean comes near, and what float32 rounds.
	limit := map[abi.DType]float64{abi.BF16: 0x1p-9, abi.F16: 0x1p-12}[f] + 1e-6
	for _, x := range []struct {
		of tensor
		at device.Ptr
	}{{k, kc}, {v, vc}} {
		raw, got := make([]byte, 2*size), make([]float32, size)
		require.NoError(t, r.dev.CopyToHost(raw, x.at, nil))
		require.NoError(t, half.Decode(f, got, raw))
		for at := range size / dim {
			head, from := at/rows/group, at%rows*pool
			want := make([]float64, dim)
			if from+pool <= n {
				want = pooledRow(x.of.head(head)[from*dim:][:pool*dim], dim, ir.ReduceMean)
			}
			for j := range want {
				require.InDelta(t, want[j], got[at*dim+j], limit, "q head %d, row %d, element %d", at/rows, at%rows, j)
			}
		}
	}
}

// A mean of the largest values is one of them, and a NaN makes its mean a NaN and leaves others alone.
func TestMeansOfOddValues(t *testing.T) {
	const dim, pool = 16, 128
	r, i := newBlockRig(t), 0
	k := r.tensor(1, 1, 2*pool, dim, abi.F16, func() float32 {
		if i++; i == 5 {
			return float32(math.NaN())
		}
		return 65504
	})
	kc, vc := r.empty(2*2*dim), r.empty(2*2*dim)
	row := 2 * k.rowElems
	kernel := r.function(Means(dim, abi.F16))
	kernel.launch([3]uint32{2, 1, 1}, kernel.Threads, args{"k": k.ptr, "v": k.ptr, "kc": kc, "vc": vc, "k_batch": 0, "k_head": 0, "k_row": row,
		"v_batch": 0, "v_head": 0, "v_row": row, "sk": 2 * pool, "pool": pool, "col_cap": 2, "group": 1})
	raw, got := make([]byte, 2*2*dim), make([]float32, 2*dim)
	require.NoError(t, r.dev.CopyToHost(raw, vc, nil))
	require.NoError(t, half.Decode(abi.F16, got, raw))
	for j, x := range got {
		if j == 4 {
			require.True(t, x != x)
		} else {
			require.Equal(t, float32(65504), x, j)
		}
	}
}

// Bits of random lists, and of none.
func TestKeptBlocks(t *testing.T) {
	const heads, rowBlocks, blockCap, words = 2, 3, 100, 70
	r, rng := newBlockRig(t), rand.New(rand.NewPCG(3, 3))
	var lists, counts []int32
	want := make([]int32, heads*rowBlocks*words)
	for n := range heads * rowBlocks {
		count := []int{0, 1, 63, 64, 65, 100}[n]
		blocks := rng.Perm(32*words + 300)[:blockCap] // some beyond the last word
		slices.SortFunc(blocks, func(a, b int) int { return b - a })
		for i, b := range blocks {
			if lists = append(lists, int32(b)); i < count && b < 32*words {
				want[n*words+b/32] |= 1 << (b % 32)
			}
		}
		counts = append(counts, int32(count))
	}
	kept := r.empty(4 * len(want))
	k := r.function(KeptBlocks())
	k.launch([3]uint32{rowBlocks, heads, 1}, k.Threads, args{"blocks": r.uploadWords(lists), "block_count": r.uploadWords(counts), "kept": kept,
		"block_cap": blockCap, "kept_words": words})
	require.Equal(t, want, r.ints(kept, len(want)))
}
