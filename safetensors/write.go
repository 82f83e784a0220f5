package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
)

// Tensor is a tensor to be written. Data is little-endian and row-major.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte
}

// Encode returns the file of the tensors: the widest types first, so that each is aligned, then by name. The same
// tensors in any order give the same bytes.
func Encode(tensors []Tensor) ([]byte, error) {
	ts := slices.Clone(tensors)
	sort.SliceStable(ts, func(i, j int) bool {
		a, b := bitsOf[ts[i].DType], bitsOf[ts[j].DType]
		return a > b || a == b && ts[i].Name < ts[j].Name
	})
	header, err := encodeHeader(ts)
	if err != nil {
		return nil, err
	}
	size := len(header)
	for _, t := range ts {
		size += len(t.Data)
	}
	out := append(make([]byte, 0, size), header...) // in one piece: growing would hold large tensors twice
	for _, t := range ts {
		out = append(out, t.Data...)
	}
	return out, nil
}

// encodeHeader returns the length and the header, padded with spaces to a multiple of 8 bytes.
func encodeHeader(ts []Tensor) ([]byte, error) {
	var b bytes.Buffer
	at, seen := uint64(0), map[string]bool{}
	for i, t := range ts {
		n, ok := sizeOf(Info{DType: t.DType, Shape: t.Shape})
		switch {
		case bitsOf[t.DType] == 0 || slices.ContainsFunc(t.Shape, func(d int) bool { return d < 0 }):
			return nil, fmt.Errorf("tensor %q has type %q and shape %v, which a safetensors file cannot hold", t.Name, t.DType, t.Shape)
		case !ok || n != uint64(len(t.Data)):
			return nil, fmt.Errorf("tensor %q of type %s and shape %v got %d bytes, wanted %d", t.Name, t.DType, t.Shape, len(t.Data), n)
		case seen[t.Name] || t.Name == "__metadata__":
			return nil, fmt.Errorf("tensor name %q is taken", t.Name)
		}
		seen[t.Name] = true
		entry, err := json.Marshal(struct {
			DType   DType     `json:"dtype"`
			Shape   []int     `json:"shape"`
			Offsets [2]uint64 `json:"data_offsets"`
		}{t.DType, append([]int{}, t.Shape...), [2]uint64{at, at + n}})
		if err != nil {
			return nil, err
		}
		name, err := json.Marshal(t.Name)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%c%s:%s", "{,"[min(i, 1)], name, entry)
		at += n
	}
	if len(ts) == 0 {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(b.Len())), b.Bytes()...), nil
}
