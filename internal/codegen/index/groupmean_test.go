package index

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// Means are of the heads that take part, in the order of the heads: bit for bit float32 sums and one division. Kv heads without any are not
// written. Where words are of kv heads, all that such a word is for take part.
func TestGroupMean(t *testing.T) {
	k, err := GroupMean(false)
	b := newListBench(t, k, err)
	rng := rand.New(rand.NewPCG(4, 5))
	const groups, group, n, stride = 4, 3, 1030, 1088
	values := make([]float32, groups*group*stride)
	for i := range values {
		values[i] = float32(rng.NormFloat64())
	}
	const in, out = int32(ir.RouteSparse), int32(ir.RouteElsewhere)
	words4 := []int32{in, out, in, in}
	for name, c := range map[string]struct {
		per   int
		heads []int32
	}{
		"all":             {1, nil},
		"some":            {1, []int32{in, out, in, out, out, out, in, in, in, out, in, out}},
		"words of groups": {group, words4},
	} {
		t.Run(name, func(t *testing.T) {
			a := listArgs{"values": words(b, values), "mean": b.empty(groups * stride), "n": n, "stride": stride, "group": group, "per": c.per, "hq": groups}
			if c.heads != nil {
				a["heads"] = words(b, c.heads)
			}
			b.launch((stride+1023)/1024, groups, a)
			for g := range groups {
				var sum [n]float32
				taking := float32(0)
				for h := g * group; h < (g+1)*group; h++ {
					if c.heads != nil && c.heads[h/c.per] == out {
						continue
					}
					taking++
					for i := range sum {
						sum[i] += values[h*stride+i]
					}
				}
				row := make([]byte, 4*n)
				err := b.dev.CopyToHost(row, ptrAt(a["mean"], 4*g*stride), nil)
				if taking == 0 {
					require.ErrorContains(t, err, "never written")
					continue
				}
				require.NoError(t, err)
				for i, bits := range b.read(ptrAt(a["mean"], 4*g*stride), n) {
					require.Equal(t, sum[i]/taking, math.Float32frombits(bits), "kv head %d, value %d", g, i)
				}
			}
		})
	}
}

// ptrAt is a place behind the start of device memory.
func ptrAt(p any, bytes int) device.Ptr { return p.(device.Ptr) + device.Ptr(bytes) }
