package flags

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/qkv"
)

// Where nothing is said the queries are the first ones, and a person is told where other programs put them.
func TestOffsets(t *testing.T) {
	for _, c := range []struct {
		text       string // "" for no flag
		sq, sk, at int
		note       bool
	}{
		{"", 4, 4, 0, false}, {"", 4, 10, 0, true}, {"0", 4, 10, 0, false}, {"end", 4, 10, 6, false}, {"1k", 4, 10, 1024, false}, {"", 10, 4, 0, false},
	} {
		var o Offset
		if c.text != "" {
			require.NoError(t, o.UnmarshalText([]byte(c.text)))
		}
		require.NoError(t, o.Check())
		in := &qkv.Input{Shape: qkv.Shape{SeqQ: c.sq, SeqK: c.sk}}
		note, err := o.Place(in)
		require.NoError(t, err)
		require.Equal(t, c.at, in.QOffset, "%+v", c)
		require.Equal(t, c.note, note != "", "%+v", c)
	}
	var o Offset
	require.ErrorContains(t, o.UnmarshalText([]byte("last")), "is not a position")
	require.NoError(t, o.UnmarshalText([]byte("-1")))
	require.Equal(t, failure.ExitUsage, failure.ExitCode(o.Check()))
	require.NoError(t, o.UnmarshalText([]byte("2m")))
	require.NoError(t, o.Check())
	require.NoError(t, o.UnmarshalText([]byte("2000000000")))
	require.Equal(t, failure.ExitInput, failure.ExitCode(o.Check()), "a number of tokens, but too many")
	var end Offset
	require.NoError(t, end.UnmarshalText([]byte("end")))
	_, err := end.Place(&qkv.Input{Shape: qkv.Shape{SeqQ: 10, SeqK: 4}})
	require.ErrorContains(t, err, "there are 10 queries and 4 keys")
}
