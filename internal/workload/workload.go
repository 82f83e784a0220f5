// Package workload makes queries, keys and values with the structure real attention heads show, and says what it planted
// where: the first keys that every query looks at, a local window, lines of equal distance, single heavy keys, topics
// that come back, or nothing. Speed and recall are measured on such inputs, because their right answer is known.
//
// A value is a function of the seed and its place alone, built from integer hashes and float32 operations rounded one by
// one. So every machine makes the same bytes, any rows can be made without the others, and the kernel of OnDevice
// makes a million tokens where they are needed. docs/workloads.md has the formulae.
package workload

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/suggest"
)

// Kind is a structure of attention.
type Kind string

const (
	Random  Kind = "random"  // independent normal numbers: scattered attention
	AShape  Kind = "a_shape" // the first keys, and a local window
	Slash   Kind = "slash"   // keys at a few distances
	Columns Kind = "columns" // single keys that all queries look at
	Blocks  Kind = "blocks"  // 64-key blocks about topics that come back
	Diffuse Kind = "diffuse" // nothing: all keys alike
	Mixed   Kind = "mixed"   // a_shape, slash, columns, blocks and diffuse, one after the other over the kv heads
)

// Kinds lists the kinds that a Spec can ask for.
func Kinds() []Kind { return []Kind{Random, AShape, Slash, Columns, Blocks, Diffuse, Mixed} }

// mixture is the order of Mixed over the kv heads.
var mixture = []Kind{AShape, Slash, Columns, Blocks, Diffuse}

// Spec describes one input: q is [Batch, QHeads, SeqLen, HeadDim], k and v are [Batch, KVHeads, SeqLen, HeadDim].
type Spec struct {
	Kind                   Kind
	Batch, QHeads, KVHeads int
	SeqLen                 int     // tokens
	HeadDim                int     // elements: a multiple of 16 from 16 to 256; from 64 on the structure is sharp
	Sharpness              float64 // factor of the planted logits, up to 4; 0 means 1
	Seed                   uint64
	DType                  abi.DType
}

// Limits. Positions and counts of 16-byte pieces stay below 2^31, a launch has one grid row a head.
const (
	maxSeqLen    = 1 << 25
	maxHeads     = 65535
	maxSharpness = 4
)

// Check says what is wrong with the spec.
func (s Spec) Check() error {
	switch {
	case !slices.Contains(Kinds(), s.Kind):
		return fmt.Errorf("there is no workload %q: want one of %s%s", s.Kind, kindList(), suggest.Hint(string(s.Kind), kindNames()))
	case s.Batch < 1 || s.QHeads < 1 || s.KVHeads < 1:
		return fmt.Errorf("batch %d with %d q heads and %d kv heads: want at least 1 of each", s.Batch, s.QHeads, s.KVHeads)
	case s.Batch > maxHeads || s.QHeads > maxHeads || s.Batch*s.QHeads > maxHeads:
		return fmt.Errorf("batch %d with %d q heads is too much: want at most %d heads in all", s.Batch, s.QHeads, maxHeads)
	case s.QHeads%s.KVHeads != 0:
		return fmt.Errorf("%d q heads do not share %d kv heads: want a multiple", s.QHeads, s.KVHeads)
	case s.SeqLen < 1 || s.SeqLen > maxSeqLen:
		return fmt.Errorf("sequence length %d: want 1 to %d", s.SeqLen, maxSeqLen)
	case s.DType.Check() != nil:
		return s.DType.Check()
	case math.IsNaN(s.Sharpness) || s.Sharpness < 0 || s.Sharpness > maxSharpness:
		return fmt.Errorf("sharpness %v: want a number above 0, at most %d", s.Sharpness, maxSharpness)
	}
	return abi.CheckHeadDim(s.HeadDim)
}

func kindNames() []string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return names
}

func kindList() string { return strings.Join(kindNames(), ", ") }

// kindOf is the structure of a kv head.
func (s Spec) kindOf(kvHead int) Kind {
	if s.Kind == Mixed {
		return mixture[kvHead%len(mixture)]
	}
	return s.Kind
}

// group is the number of q heads of a kv head.
func (s Spec) group() int { return s.QHeads / s.KVHeads }

// Tensor is one of the three inputs.
type Tensor int

const (
	Q Tensor = iota
	K
	V
)

// heads is the number of heads of a tensor in one batch.
func (s Spec) heads(t Tensor) int {
	if t == Q {
		return s.QHeads
	}
	return s.KVHeads
}

// Bytes is the size of q, k and v together.
func (s Spec) Bytes() int64 {
	return int64(s.DType.Size()) * int64(s.Batch) * int64(s.QHeads+2*s.KVHeads) * int64(s.SeqLen) * int64(s.HeadDim)
}
