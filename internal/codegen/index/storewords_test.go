package index

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
)

func TestStoreWords(t *testing.T) {
	r := newBlockRig(t)
	k := r.function(StoreWords())
	to := r.empty(4 * abi.StoreWordsCount)
	a, want := args{"to": to}, []int32{}
	for i := range abi.StoreWordsCount / 2 {
		low, high := int32(-1-i), int32(1<<30-i)
		a[fmt.Sprintf("w%d", i)] = int(int64(high)<<32 | int64(uint32(low)))
		want = append(want, low, high)
	}
	k.launch([3]uint32{1, 1, 1}, k.Threads, a)
	require.Equal(t, want, r.ints(to, abi.StoreWordsCount))
}
