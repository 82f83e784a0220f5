package runtime

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/minfc/minfc/ir"
)

// kernelParam is what the runtime knows of one parameter of an attention kernel. value returns its bits; the low bytes
// are passed. Strides reach the kernel in bytes.
type kernelParam struct {
	KernelParam
	value func(c *call) uint64
}

var attentionParams = []kernelParam{
	{KernelParam{"q", "ptr"}, func(c *call) uint64 { return uint64(c.Q.Ptr) }},
	{KernelParam{"k", "ptr"}, func(c *call) uint64 { return uint64(c.K.Ptr) }},
	{KernelParam{"v", "ptr"}, func(c *call) uint64 { return uint64(c.V.Ptr) }},
	{KernelParam{"o", "ptr"}, func(c *call) uint64 { return uint64(c.O.Ptr) }},
	{KernelParam{"lse", "ptr"}, func(c *call) uint64 { return uint64(c.LSE) }},
	{KernelParam{"q_batch", "i64"}, func(c *call) uint64 { return elements(c.Q.BatchStride) }},
	{KernelParam{"q_head", "i64"}, func(c *call) uint64 { return elements(c.Q.HeadStride) }},
	{KernelParam{"q_row", "i64"}, func(c *call) uint64 { return elements(c.Q.RowStride) }},
	{KernelParam{"k_batch", "i64"}, func(c *call) uint64 { return elements(c.K.BatchStride) }},
	{KernelParam{"k_head", "i64"}, func(c *call) uint64 { return elements(c.K.HeadStride) }},
	{KernelParam{"k_row", "i64"}, func(c *call) uint64 { return elements(c.K.RowStride) }},
	{KernelParam{"v_batch", "i64"}, func(c *call) uint64 { return elements(c.V.BatchStride) }},
	{KernelParam{"v_head", "i64"}, func(c *call) uint64 { return elements(c.V.HeadStride) }},
	{KernelParam{"v_row", "i64"}, func(c *call) uint64 { return elements(c.V.RowStride) }},
	{KernelParam{"o_batch", "i64"}, func(c *call) uint64 { return elements(c.O.BatchStride) }},
	{KernelParam{"o_head", "i64"}, func(c *call) uint64 { return elements(c.O.HeadStride) }},
	{KernelParam{"o_row", "i64"}, func(c *call) uint64 { return elements(c.O.RowStride) }},
	{KernelParam{"lse_batch", "i64"}, func(c *call) uint64 { return uint64(c.LSEBatchStride) * lseBytes }},
	{KernelParam{"lse_head", "i64"}, func(c *call) uint64 { return uint64(c.LSEHeadStride) * lseBytes }},
	{KernelParam{"sq", "i32"}, func(c *call) uint64 { return uint64(c.SeqQ) }},
	{KernelParam{"sk", "i32"}, func(c *call) uint64 { return uint64(c.SeqK) }},
	{KernelParam{"q_offset", "i32"}, func(c *call) uint64 { return uint64(c.QOffset) }},
	{KernelParam{"group", "i32"}, func(c *call) uint64 { return uint64(c.QHeads / c.KVHeads) }},
	{KernelParam{"scale_log2", "f32"}, func(c *call) uint64 { return uint64(math.Float32bits(c.scaleLog2)) }},
}

const (
	elementBytes = 2 // bf16 and f16
	lseBytes     = 4 // float32
)

func elements(n int64) uint64 { return uint64(n) * elementBytes }

// paramBytes is the size of each type of kernel parameter.
var paramBytes = map[string]int{"ptr": 8, "i64": 8, "i32": 4, "f32": 4}

// patternPrefix begins the names of the pattern's own launch parameters.
const patternPrefix = "p_"

// paramsOf lists every parameter a kernel of schedule s has.
func paramsOf(s *ir.Schedule) []kernelParam {
	out := slices.Clone(attentionParams)
	for _, p := range s.Params {
		if p.Binding == ir.BindLaunch {
			out = append(out, kernelParam{KernelParam{patternPrefix + p.Name, "i32"}, func(c *call) uint64 { return uint64(c.values[p.Name]) }})
		}
	}
	return out
}

// listPrefix begins the names of the parameters that carry the lists of what the data chose.
const listPrefix = "i_"

// listFields are the parameters of a kernel for the lists of one chosen set, by the source that reads them.
var listFields = map[ir.SourceKind][]KernelParam{
	ir.SourceRuns:    typed("ptr runs run_count covered i32 run_cap cover_words"),
	ir.SourceBlocks:  typed("ptr blocks block_count i32 block_cap"),
	ir.SourceColumns: typed("ptr cols col_count kc vc i32 col_cap"),
}

// listName is the parameter and the buffer for one field of the lists of a chosen set.
func listName(set, field string) string { return listPrefix + set + "_" + field }

func listParams(s *ir.Schedule) []kernelParam {
	var out []kernelParam
	for _, l := range sourcesOf(s) {
		for _, f := range listFields[l.Kind] {
			name := listName(l.Name, f.Name)
			out = append(out, kernelParam{KernelParam{name, f.Type}, func(c *call) uint64 { return c.lists[name] }})
		}
	}
	return out
}

// sourcesOf lists the chosen sets that the segments read or leave out.
func sourcesOf(s *ir.Schedule) []ir.Source {
	var out []ir.Source
	for _, g := range s.Segments {
		for _, l := range append([]ir.Source{g.From}, g.Except...) {
			if l.Kind != ir.SourceRange && !slices.Contains(out, l) {
				out = append(out, l)
			}
		}
	}
	return out
}

// bindParams finds the meaning of an attention kernel's parameters.
func bindParams(listed []KernelParam, s *ir.Schedule) ([]kernelParam, error) {
	return matchParams(listed, append(paramsOf(s), listParams(s)...))
}

// matchParams finds the meaning of a kernel's parameters by name; their order is the manifest's. All must be there: a
// kernel without one would ignore what its caller asks for.
func matchParams(listed []KernelParam, known []kernelParam) ([]kernelParam, error) {
	bound := make([]kernelParam, 0, len(known))
	for _, p := range listed {
		i := slices.IndexFunc(known, func(k kernelParam) bool { return k.Name == p.Name })
		if i < 0 {
			return nil, fmt.Errorf("kernel parameter %q is unknown or listed twice", p.Name)
		}
		if known[i].Type != p.Type {
			return nil, fmt.Errorf("kernel parameter %q has type %q, want %s", p.Name, p.Type, known[i].Type)
		}
		bound = append(bound, known[i])
		known = slices.Delete(known, i, i+1)
	}
	if len(known) > 0 {
		return nil, fmt.Errorf("kernel parameters are missing: %s", strings.Join(paramNames(known), ", "))
	}
	return bound, nil
}

func paramNames(params []kernelParam) (names []string) {
	for _, p := range params {
		names = append(names, p.Name)
	}
	return names
}

// arguments packs the values of a call as Function.Launch takes them.
func arguments(params []kernelParam, c *call) [][]byte {
	return packArguments(params, func(p kernelParam) uint64 { return p.value(c) })
}

func packArguments(params []kernelParam, value func(p kernelParam) uint64) [][]byte {
	buf, args := make([]byte, 8*len(params)), make([][]byte, len(params))
	for i, p := range params {
		slot := buf[8*i : 8*i+8]
		binary.LittleEndian.PutUint64(slot, value(p))
		args[i] = slot[:paramBytes[p.Type]]
	}
	return args
}
