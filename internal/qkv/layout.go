package qkv

import (
	"fmt"

	"github.com/minfc/minfc/safetensors"
)

// Layout is the order of the dimensions of q, k, v and o in a file: batch, heads, rows and the head's elements.
type Layout string

// The layouts. The zero value is BHSD.
const (
	BHSD Layout = "bhsd" // [B, H, S, D], what kernels are given here
	BSHD Layout = "bshd" // [B, S, H, D], as flash-attn has it
)

func (l Layout) String() string {
	if l == "" {
		return string(BHSD)
	}
	return string(l)
}

// LoadAs is Load of a file with its tensors in the given layout; "-" is standard input. The input's Output is in that layout, too.
func LoadAs(path string, l Layout) (*Input, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in, err := load(f, l)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return in, nil
}

// headsFirst is a tensor of a file as BHSD has it.
func (l Layout) headsFirst(t safetensors.Info) safetensors.Info {
	if l == BSHD && len(t.Shape) == 4 {
		t.Shape = []int{t.Shape[0], t.Shape[2], t.Shape[1], t.Shape[3]}
	}
	return t
}

// swap returns [batch, b, a, row bytes] of [batch, a, b, row bytes].
func swap(data []byte, batch, a, b, row int) []byte {
	out := make([]byte, len(data))
	for n := range batch {
		for i := range a {
			for j := range b {
				from, to := ((n*a+i)*b+j)*row, ((n*b+j)*a+i)*row
				copy(out[to:to+row], data[from:from+row])
			}
		}
	}
	return out
}
