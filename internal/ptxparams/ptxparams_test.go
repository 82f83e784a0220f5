package ptxparams

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSizes(t *testing.T) {
	got := Sizes([]byte(`// .visible .entry not_this(.param .u64 x)
.version 8.0
.visible .entry mixed( /* a, b */
	.param .u8 mixed_a,	.param .u64 mixed_dst, // two
	.param .f32 mixed_e,
	.param .b16 h,
	.param .align 64 .b8 mixed_map[128],
	.param .align 4 .b32 box[ 3 ],
	.param .u64 .ptr .global .align 16 p
)
.maxntid 128, 1, 1
{ ret; }
.entry none { ret; }
.entry also_none () { ret; }
.visible .entry strange(.param .texref t) { ret; }
`))
	require.Equal(t, map[string][]int{"mixed": {1, 8, 4, 2, 128, 12, 8}, "none": {}, "also_none": {}}, got)
	require.Empty(t, Sizes([]byte("this is no ptx")))
}
