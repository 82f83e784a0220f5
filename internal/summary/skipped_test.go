package summary

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSkipped(t *testing.T) {
	s := NewSkipped([]int{10, 0, 20, 10}, []int{5, 0, 1, 10}, 2)
	require.Equal(t, "40.00 % of 40 tiles left out", s.String())
	require.Equal(t, []string{"batch entry 0, heads 0-1: 50.00 0.00", "batch entry 1, heads 0-1: 5.00 100.00"}, s.byHead())
	text, err := json.Marshal(s)
	require.NoError(t, err)
	require.JSONEq(t, `{"share": 0.4, "tiles": 40, "heads": [0.5, 0, 0.05, 1]}`, string(text))
	require.Equal(t, "0.00 % of 0 tiles left out", NewSkipped([]int{0}, []int{0}, 1).String(), "all heads ran dense")
}
