package search

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSampledRows: rows are apart and ascending, spread over the whole prompt, the last ones always among them, and the weights are halves.
func TestSampledRows(t *testing.T) {
	for _, c := range []struct{ n, want, rows int }{{1, 512, 1}, {20, 512, 20}, {256, 512, 256}, {256, 100, 96}, {32768, 512, 512}, {1 << 20, 512, 512}, {4096, 1, 32}} {
		s := newSample(c.n, c.want, 7)
		require.Equal(t, c.rows, s.rows(), "%v", c)
		sum, answers, end := 0.0, 0.0, 0
		for i, w := range s.weights {
			sum += w
			if i >= s.answer(0) {
				answers += w
			}
		}
		require.InDelta(t, 1, sum, 1e-9)
		if s.rows() > s.answers {
			require.InDelta(t, answerWeight, answers, 1e-9)
		}
		for _, x := range s.spans {
			require.GreaterOrEqual(t, x.first, end)
			end = x.first + x.n
		}
		require.Equal(t, c.n, end, "the last row is sampled")
		require.Equal(t, s, newSample(c.n, c.want, 7))
	}
	spans := newSample(32768, 512, 7).spans
	for i, x := range spans[:30] { // one in each of 30 equal parts
		require.Equal(t, i, x.first*30/(32768-answerRows))
	}
	require.NotEqual(t, spans, newSample(32768, 512, 8).spans)
}
