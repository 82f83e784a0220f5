package runtime

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// A part is a call of its own on the heads from its first to its last, or on all heads of their kv heads. Heads between take no part.
func TestSpansOfParts(t *testing.T) {
	all := []int{0, 1, 2, 3, 4, 5, 6, 7}
	for _, x := range []struct {
		qHeads, kvHeads int
		heads           []int
		want            string // "first+heads/kv heads"
	}{
		{8, 2, nil, "0+8/2"}, {8, 2, all, "0+8/2"}, {8, 8, all, "0+8/8"},
		{4, 2, []int{0, 1}, "0+2/1"}, {4, 2, []int{2, 3}, "2+2/1"}, {4, 1, []int{0, 1}, "0+2/1"}, {4, 1, []int{2, 3}, "2+2/1"},
		// as many kv heads as it takes
		{8, 2, []int{0, 7}, "0+8/2"}, {8, 2, []int{1, 2, 3, 4, 6}, "0+8/2"}, {8, 2, []int{5}, "5+1/1"},
		{8, 4, []int{0, 7}, "0+8/4"}, {8, 4, []int{1, 2, 3, 4, 6}, "0+8/4"}, {8, 4, []int{5}, "5+1/1"},
		{8, 8, []int{0, 7}, "0+8/8"}, {8, 8, []int{1, 2, 3, 4, 6}, "1+6/6"}, {8, 8, []int{5}, "5+1/1"},
		// all in one kv head
		{8, 1, []int{0, 7}, "0+8/1"}, {8, 1, []int{1, 2, 3, 4, 6}, "1+6/1"}, {8, 1, []int{5}, "5+1/1"},
	} {
		layer := &call{Shape: Shape{Batch: 1, QHeads: x.qHeads, KVHeads: x.kvHeads, SeqQ: 64, SeqK: 64}, group: x.qHeads / x.kvHeads}
		c := Part{Heads: x.heads}.call(layer)
		require.Equal(t, x.want, fmt.Sprintf("%d+%d/%d", c.head0, c.QHeads, c.KVHeads), "%+v", x)
		require.Equal(t, x.heads != nil && len(x.heads) < c.QHeads, c.mask != nil, "%+v", x)
	}
}
