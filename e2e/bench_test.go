package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/patterns"
)

// BenchmarkCompile is the road from the text of a pattern to its artifact, for the head dims that give the longest kernels.
func BenchmarkCompile(b *testing.B) {
	for _, name := range patterns.Names() {
		for _, dim := range []int{64, 128, 256} {
			b.Run(fmt.Sprintf("%s/D%d", name, dim), func(b *testing.B) {
				file, src, _ := patterns.Source(name)
				for b.Loop() {
					_, err := compile.Source(file, src, "", compile.Options{Target: "sm_80", DType: "bf16", HeadDim: dim}, nil)
					require.NoError(b, err)
				}
			})
		}
	}
}
