package runtime

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// spreadRules choose by mass and by threshold, with limits and without.
const spreadRules = `schedule spread_rules
  param share = 600 min 0
  param least = 300 min 0
  param limit = 40 min 0
  index logits = probe stride 7
  index probe = softmax logits
  index heat = sum probe over queries
  index cols = mass share from heat first 2 most limit
  index trace = sum probe over diagonals
  index diags = above least from trace last 1
  tile 64x64 longest-first
  segment 0
    from runs diags
    hi   q + 1
  segment 1
    from columns cols
    except runs diags
    hi   q + 1
`

// stored are the words that the launches of store_words leave from an address on.
func stored(t *testing.T, dev *devicetest.Fake, at device.Ptr, n int) []uint32 {
	memory := map[device.Ptr]uint32{}
	for _, l := range dev.Launches {
		if l.Entry != abi.StoreWords {
			continue
		}
		to := device.Ptr(l.Arg(t, abi.IndexParams[abi.StoreWords], "to"))
		for i := range abi.StoreWordsCount {
			memory[to+device.Ptr(4*i)] = binary.LittleEndian.Uint32(l.Args[1+i/2][4*(i%2):])
		}
	}
	var out []uint32
	for i := range n {
		word, there := memory[at+device.Ptr(4*i)]
		require.True(t, there, "word %d is stored", i)
		out = append(out, word)
	}
	return out
}

// storedNumbers is a pattern with budgets, and what a launch stores of them.
type storedNumbers struct {
	text   string
	byHead map[string][]int64 // values for q heads 0 and 2, which take part; repeated
	want   [][2]uint32        // what each row stores for them
	absent []uint32           // what each row stores for the other heads
	kernel string
	reads  map[string]int // parameters of the kernel that are rows
}

// words are what is stored for a number of heads.
func (c storedNumbers) words(heads int) (out []uint32) {
	for row, values := range c.want {
		for h := range heads {
			if h%2 == 1 {
				out = append(out, c.absent[row])
			} else {
				out = append(out, values[h/2%2])
			}
		}
	}
	for h := range 2 * heads {
		out = append(out, []uint32{ir.RouteSparse, ir.RouteElsewhere}[h%2])
	}
	return out
}

// What kernels read of a head is stored before them: its budgets as they want them, and behind these the words of heads that take no part,
// for every batch entry. More than one launch stores, where one has no room for all.
func TestNumbersOfHeadsAreStored(t *testing.T) {
	threshold := func(x float64) uint32 { return math.Float32bits(math.Nextafter32(float32(x), 1)) }
	for name, c := range map[string]storedNumbers{
		"numbers": {verticalSlash, map[string][]int64{"vertical": {5, 70}, "slash": {1, 1 << 20}}, [][2]uint32{{5, 70}, {1, 1 << 20}}, []uint32{0, 0},
			abi.SelectTop, map[string]int{"a_budget": 0, "b_budget": 1}},
		"shares": {spreadRules, map[string][]int64{"share": {5, 2000}, "limit": {7, 1 << 29}, "least": {0, 250000}},
			[][2]uint32{{5, 1000}, {7, 1 << 29}, {1, threshold(0.25)}, {ir.MaxParam, ir.MaxParam}}, []uint32{0, 0, 1, 0},
			abi.SelectMass, map[string]int{"a_budget": 0, "a_most": 1, "b_most": 1}},
		"thresholds": {spreadRules, map[string][]int64{"share": {5, 20}, "limit": {7, 9}, "least": {300000, 1}},
			[][2]uint32{{5, 20}, {7, 9}, {math.Float32bits(0.3), threshold(1e-6)}, {ir.MaxParam, ir.MaxParam}}, []uint32{0, 0, 1, 0},
			abi.SelectAbove, map[string]int{"a_budget": 2, "a_most": 3}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, heads := range []int{4, 40} {
				dev, k := dynamicKernel(t, c.text)
				a := bigCall(500)
				a.Batch, a.QHeads, a.KVHeads = 2, heads, 2 // so that the part spans the last head, too
				a.HeadParams = map[string][]int64{}
				for h := range heads {
					if h%2 == 1 {
						continue
					}
					a.Heads = append(a.Heads, h)
					for name, values := range c.byHead {
						a.HeadParams[name] = append(a.HeadParams[name], values[h/2%2])
					}
				}
				require.NoError(t, k.LaunchIndex(nil, a))
				chooses := find(t, dev, c.kernel)
				params := abi.IndexParams[c.kernel]
				words := device.Ptr(chooses.Arg(t, params, "heads"))
				start := words - device.Ptr(4*heads*len(c.want))
				for name, row := range c.reads {
					require.EqualValues(t, start+device.Ptr(4*heads*row), chooses.Arg(t, params, name), name)
				}
				want := c.words(heads)
				require.Equal(t, want, stored(t, dev, start, len(want)))
				require.EqualValues(t, words, find(t, dev, abi.Columns).Arg(t, abi.IndexParams[abi.Columns], "heads"), "all kernels read the same words")
			}
		})
	}
}
