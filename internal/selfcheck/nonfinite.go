package selfcheck

import (
	"fmt"
	"math"
	"strings"

	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
)

// NonFinite counts the NaN and infinities of one input tensor.
type NonFinite struct {
	Tensor string
	Count  int
	First  [4]int  // batch, head, row and element of the first
	Value  float64 // of the first
}

// String is the place of the first one and its value, as in "v[0, 1, 37, 5] is NaN".
func (n NonFinite) String() string {
	value := map[bool]string{true: "NaN", false: strings.TrimPrefix(fmt.Sprint(n.Value), "+")}[math.IsNaN(n.Value)]
	s := fmt.Sprintf("%s[%d, %d, %d, %d] is %s", n.Tensor, n.First[0], n.First[1], n.First[2], n.First[3], value)
	if n.Count > 1 {
		s += fmt.Sprintf(" (and %d more of %s are not finite)", n.Count-1, n.Tensor)
	}
	return s
}

// findNonFinite looks at all tensors of the input.
func findNonFinite(in *qkv.Input) (out []NonFinite, err error) {
	for _, t := range []struct {
		name       string
		data       []byte
		heads, seq int
	}{{"q", in.Q, in.QHeads, in.SeqQ}, {"k", in.K, in.KVHeads, in.SeqK}, {"v", in.V, in.KVHeads, in.SeqK}} {
		found := NonFinite{Tensor: t.name}
		size := t.seq * in.HeadDim
		values := make([]float32, size)
		for head := range in.Batch * t.heads {
			if err := half.Decode(in.Format, values, t.data[2*size*head:][:2*size]); err != nil {
				return nil, err
			}
			for i, x := range values {
				if finite(float64(x)) {
					continue
				}
				if found.Count++; found.Count == 1 {
					found.First, found.Value = [4]int{head / t.heads, head % t.heads, i / in.HeadDim, i % in.HeadDim}, float64(x)
				}
			}
		}
		if found.Count > 0 {
			out = append(out, found)
		}
	}
	return out, nil
}

// nonFinite is the end of the report.
func (r *Report) nonFinite() string {
	if len(r.NonFinite) == 0 {
		return ""
	}
	var places []string
	for _, n := range r.NonFinite {
		places = append(places, n.String())
	}
	return fmt.Sprintf("; the input is not finite: %s; %d elements of outputs are not finite in float64 either and were not compared",
		strings.Join(places, ", "), r.Undefined)
}

// values are the keys of a head whose V is not finite: by key, the elements.
type values map[int][]int

func nonFiniteValues(ref ir.Inputs[float32]) values {
	out := values{}
	for i, x := range ref.V {
		if !finite(float64(x)) {
			out[i/ref.D] = append(out[i/ref.D], i%ref.D)
		}
	}
	return out
}

// reaches says whether a value of a key that is not finite may show in the output of a row. Rows are strict: it does where the row
// keeps the key, and nowhere else, whatever other rows of its tile keep.
func reaches(ref ir.Inputs[float32], row, key int) bool {
	if ref.Keep(ref.QOffset+row, key) {
		return true
	}
	if ref.Dropped == nil { // else a mean may have it
		return false
	}
	pools := ref.Dropped.Keys(row)
	return key/ref.Dropped.Pool < len(pools) && pools[key/ref.Dropped.Pool] > 0
}

// spoil makes the elements NaN that a value which is not finite reaches.
func (v values) spoil(x outcome) {
	for key, elements := range v {
		if !reaches(x.ref, x.row, key) {
			continue
		}
		for _, n := range elements {
			x.want[n] = math.NaN()
		}
	}
}
