package summary

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRecall(t *testing.T) {
	r := NewRecall([]float32{1, 0.5, 0.75, 0.25}, 2, 64, 100)
	require.Equal(t, "62.50 % of the attention, least 25.00 % in head 1 of batch entry 1, from 64 of 100 rows", r.String())
	require.Equal(t, []string{"batch entry 0, heads 0-1: 100.00 50.00", "batch entry 1, heads 0-1: 75.00 25.00"}, r.byHead())

	one := NewRecall([]float32{0.5}, 1, 100, 100)
	require.Equal(t, "50.00 % of the attention", one.String())
	require.Empty(t, one.byHead())

	many := NewRecall(make([]float32, 17), 17, 5, 5)
	require.Equal(t, "0.00 % of the attention, least 0.00 % in head 0", many.String())
	require.Equal(t, "heads 8-15: 0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.00", many.byHead()[1])
	require.Equal(t, "head 16: 0.00", many.byHead()[2])
}

// A head of an input that is no number has none, in words and in JSON.
func TestRecallWithoutANumber(t *testing.T) {
	r := NewRecall([]float32{1, float32(math.NaN())}, 2, 5, 5)
	require.Equal(t, "NaN % of the attention, least NaN % in head 1", r.String())
	text, err := json.Marshal(r)
	require.NoError(t, err)
	require.JSONEq(t, `{"mean": null, "least": null, "heads": [1, null], "sampled_rows": 5}`, string(text))
}
