//go:build gorgonia

package main

import (
	"fmt"
	"log"
	"math"
	"math/rand/v2"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/runtime"
)

// tensors are bf16 [heads, tokens, head dim] in host memory.
type tensors struct{ q, k, v, o []byte }

// random are the numbers of a tensor [heads, tokens, head dim].
func random(heads int) []byte {
	values := make([]float32, heads*tokens*headDim)
	rng := rand.New(rand.NewPCG(1, uint64(heads)))
	for i := range values {
		values[i] = float32(rng.NormFloat64())
	}
	data, err := half.Encode(abi.BF16, values)
	if err != nil {
		log.Fatal(err) // a size that is not the type's
	}
	return data
}

// checkedRows are the query rows that are checked in each head: the first ones, edges of tiles, and the last ones.
var checkedRows = []int{0, 1, 63, 64, 127, 128, 1000, 1535, tokens - 2, tokens - 1}

// most is how far a row may be from its reference: bf16 rounds the output and the weights to 8 bits.
const most = 1e-2

// check computes rows of each head in float64, over all keys that the run kept, and returns the largest relative error of a row.
func check(call *minfc.Call, chosen []runtime.Chosen, x tensors) (worst float64, err error) {
	for head := range qHeads {
		kept, err := call.Cover(head, &chosen[head], checkedRows)
		if err != nil {
			return 0, err
		}
		kv := head / (qHeads / kvHeads)
		for i, row := range checkedRows {
			want := attend(rowsOf(x.q, head)[row*headDim:][:headDim], rowsOf(x.k, kv), rowsOf(x.v, kv), kept[i*tokens:][:tokens])
			wrong := distance(rowsOf(x.o, head)[row*headDim:][:headDim], want)
			if !(wrong <= most) { // NaN is wrong, too
				return wrong, fmt.Errorf("row %d of head %d is wrong: its relative error is %.1e, want at most %.0e", row, head, wrong, most)
			}
			worst = max(worst, wrong)
		}
	}
	return worst, nil
}

// rowsOf are the numbers of a head, [tokens, head dim].
func rowsOf(tensor []byte, head int) []float32 {
	const bytes = 2 * tokens * headDim
	values := make([]float32, tokens*headDim)
	if err := half.Decode(abi.BF16, values, tensor[head*bytes:][:bytes]); err != nil {
		log.Fatal(err)
	}
	return values
}

// attend is attention of one query over the keys that are kept.
func attend(q, k, v []float32, kept []byte) []float64 {
	out, sum := make([]float64, headDim), 0.0
	for key, is := range kept {
		if is == 0 {
			continue
		}
		score := 0.0
		for d := range headDim {
			score += float64(q[d]) * float64(k[key*headDim+d])
		}
		weight := math.Exp(score / math.Sqrt(headDim)) // scores of such numbers are small: no maximum is needed
		sum += weight
		for d := range headDim {
			out[d] += weight * float64(v[key*headDim+d])
		}
	}
	for d := range out {
		out[d] /= sum
	}
	return out
}

// distance is the norm of the difference over the norm of what is wanted.
func distance(got []float32, want []float64) float64 {
	var off, norm float64
	for d, w := range want {
		off += (float64(got[d]) - w) * (float64(got[d]) - w)
		norm += w * w
	}
	return math.Sqrt(off / norm)
}
