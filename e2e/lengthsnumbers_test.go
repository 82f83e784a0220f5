package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime/emu"
)

// ofLength has numbers that depend on the length.
const ofLength = `pattern of_length {
  index heat = sum(softmax(q[-64:] * k), queries)
  index cols = top(sk / 8, heat) with first 4
  index main = near_max(0.9, softmax(mean(q, 64) * mean(k, 64))) with least sk / 128 with most sk / 64
  keep causal & (columns(cols) & window(128) | blocks(main) \ window(128))
}`

// TestNumbersOfTheLongestLength: where lengths are in device memory, all sequences of a batch have the numbers of the longest length that
// the call allows. Each sequence computes what it does alone with these numbers in place of `sk`.
func TestNumbersOfTheLongestLength(t *testing.T) {
	dev := openEmulator(t, emu.Options{})
	r := &lengthsRig{t: t, dev: dev, heads: minfc.Heads{Q: 4, KV: 2, Dim: 64, DType: abi.BF16}, rng: rand.New(rand.NewPCG(2, 3)), waste: 1000}
	a, err := minfc.NewAttention(dev, minfc.Spec{Source: ofLength}, r.heads)
	require.NoError(t, err)
	defer a.Close()
	short := &batch{of: []sequence{{200, 500, 300}, {65, 65, 0}}, rowsQ: 265, rowsK: 565, firstQ: []int{0, 200}, firstK: []int{0, 500}, most: sequence{250, 600, 300}}
	for n, b := range []*batch{partOfATile(), short} {
		longest := min(b.most.k, b.most.offset+b.most.q)
		r.own, err = minfc.NewAttention(dev, minfc.Spec{Source: strings.ReplaceAll(ofLength, "sk", fmt.Sprint(longest))}, r.heads)
		require.NoError(t, err)
		r.check(a, b, n == 1, false)
		require.NoError(t, r.own.Close())
	}
}
