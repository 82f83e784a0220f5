package compile

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// A panic in one of many goroutines must reach the caller, who can say that it is a fault of ours, and the others still end.
func TestEachAtOnce(t *testing.T) {
	var ran atomic.Int32
	work := func(i int) {
		ran.Add(1)
		if i == 3 {
			panic("internal: no such thing")
		}
	}
	require.PanicsWithValue(t, "internal: no such thing", func() { eachAtOnce(8, work) })
	require.EqualValues(t, 8, ran.Load())
	eachAtOnce(3, work)
	require.EqualValues(t, 11, ran.Load())
}
