package runtime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/minfc/minfc/ir"
)

// kernelParam is what the runtime knows of one parameter of an attention kernel. value returns its bits; the low bytes
// are passed; a map has a view and an array its bytes instead. Strides reach the kernel in bytes.
type kernelParam struct {
	KernelParam
	value func(c *call) uint64
	view  func(c *call) mapView
	array func(c *call) []byte
}

func scalar(name, kind string, value func(c *call) uint64) kernelParam {
	return kernelParam{KernelParam: KernelParam{Name: name, Type: kind}, value: value}
}

var attentionParams = []kernelParam{
	scalar("q", "ptr", func(c *call) uint64 { return uint64(c.Q.Ptr) }),
	scalar("k", "ptr", func(c *call) uint64 { return uint64(c.K.Ptr) }),
	scalar("v", "ptr", func(c *call) uint64 { return uint64(c.V.Ptr) }),
	scalar("o", "ptr", func(c *call) uint64 { return uint64(c.O.Ptr) }),
	scalar("lse", "ptr", func(c *call) uint64 { return uint64(c.LSE) }),
	scalar("q_batch", "i64", func(c *call) uint64 { return elements(c.Q.BatchStride) }),
	scalar("q_head", "i64", func(c *call) uint64 { return elements(c.Q.HeadStride) }),
	scalar("q_row", "i64", func(c *call) uint64 { return elements(c.Q.RowStride) }),
	scalar("k_batch", "i64", func(c *call) uint64 { return elements(c.K.BatchStride) }),
	scalar("k_head", "i64", func(c *call) uint64 { return elements(c.K.HeadStride) }),
	scalar("k_row", "i64", func(c *call) uint64 { return elements(c.K.RowStride) }),
	scalar("v_batch", "i64", func(c *call) uint64 { return elements(c.V.BatchStride) }),
	scalar("v_head", "i64", func(c *call) uint64 { return elements(c.V.HeadStride) }),
	scalar("v_row", "i64", func(c *call) uint64 { return elements(c.V.RowStride) }),
	scalar("o_batch", "i64", func(c *call) uint64 { return elements(c.O.BatchStride) }),
	scalar("o_head", "i64", func(c *call) uint64 { return elements(c.O.HeadStride) }),
	scalar("o_row", "i64", func(c *call) uint64 { return elements(c.O.RowStride) }),
	scalar("lse_batch", "i64", func(c *call) uint64 { return uint64(c.LSEBatchStride) * lseBytes }),
	scalar("lse_head", "i64", func(c *call) uint64 { return uint64(c.LSEHeadStride) * lseBytes }),
	scalar("sq", "i32", func(c *call) uint64 { return uint64(c.SeqQ) }),
	scalar("sk", "i32", func(c *call) uint64 { return uint64(c.SeqK) }),
	scalar("q_offset", "i32", func(c *call) uint64 { return uint64(c.QOffset) }),
	scalar("group", "i32", func(c *call) uint64 { return uint64(c.QHeads / c.KVHeads) }),
	scalar("scale_log2", "f32", func(c *call) uint64 { return uint64(math.Float32bits(c.scaleLog2)) }),
}

const (
	elementBytes = 2 // bf16 and f16
	lseBytes     = 4 // float32
)

func elements(n int64) uint64 { return uint64(n) * elementBytes }

// paramBytes is the size of each type of kernel parameter that is a number.
var paramBytes = map[string]int{"ptr": 8, "i64": 8, "i32": 4, "f32": 4}

// Types of kernel parameters that are no numbers: tensor maps, and the heads of a grid's rows.
const (
	mapType   = "map"
	headsType = "heads"
)

// patternPrefix begins the names of the pattern's own launch parameters.
const patternPrefix = "p_"

// paramsOf lists every parameter a kernel of schedule s has beside those of its lists and its queue.
func paramsOf(s *ir.Schedule) []kernelParam {
	return slices.Concat(attentionParams, routeParams, patternParams(s))
}

// patternParams are the launch parameters of the pattern.
func patternParams(s *ir.Schedule) (out []kernelParam) {
	for _, p := range s.Params {
		if p.Binding == ir.BindLaunch {
			out = append(out, scalar(patternPrefix+p.Name, "i32", func(c *call) uint64 { return uint64(c.values[p.Name]) }))
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
			out = append(out, scalar(name, f.Type, func(c *call) uint64 { return c.lists[name] }))
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

// mapsOf lists the tensors that maps of a kernel of schedule s may show.
func mapsOf(s *ir.Schedule) []mapSource {
	out := slices.Clone(attentionMaps)
	for _, l := range sourcesOf(s) {
		if l.Kind == ir.SourceColumns {
			out = append(out, copySource(l.Name, "kc"), copySource(l.Name, "vc"))
		}
	}
	return out
}

// queueParams are those of kernels whose blocks take one row tile after another. The queue is a u32 that counts them.
var (
	queueParams   = append(slices.Clone(counterParams), rowTilesParam, qHeadsParam)
	counterParams = []kernelParam{
		scalar("queue", "ptr", func(c *call) uint64 { return c.queue }),
		scalar("items", "i32", func(c *call) uint64 { return uint64(c.items()) }),
	}
	rowTilesParam = scalar("row_tiles", "i32", func(c *call) uint64 { return uint64(c.rowTiles) })
	qHeadsParam   = scalar("q_heads", "i32", func(c *call) uint64 { return uint64(c.QHeads) })
)

// routeParams say which heads a kernel computes.
var routeParams = []kernelParam{
	scalar("route", "ptr", func(c *call) uint64 { return c.route }),
	scalar("taken", "i32", func(c *call) uint64 { return c.taken }),
}

// bindParams finds the meaning of an attention kernel's parameters.
func bindParams(listed []KernelParam, s *ir.Schedule) ([]kernelParam, error) {
	known := append(paramsOf(s), listParams(s)...)
	if slices.ContainsFunc(listed, func(p KernelParam) bool { return p.Name == queueParams[0].Name }) {
		known = append(known, queueParams...)
	}
	return matchParams(listed, known, mapsOf(s)...)
}

// matchParams finds the meaning of a kernel's parameters: numbers by name, maps by tensor; their order is the manifest's. All
// numbers must be there, unless a map says the same: a kernel without one would ignore what its caller asks for.
func matchParams(listed []KernelParam, known []kernelParam, maps ...mapSource) ([]kernelParam, error) {
	b := paramBinder{known, maps, map[string]bool{}, map[string]bool{}}
	bound := make([]kernelParam, 0, len(listed))
	for _, p := range listed {
		k, err := b.bind(p)
		if err != nil {
			return nil, fmt.Errorf("kernel parameter %q %w", p.Name, err)
		}
		bound = append(bound, k)
	}
	if missing := b.missing(); len(missing) > 0 {
		return nil, fmt.Errorf("kernel parameters are missing: %s", strings.Join(missing, ", "))
	}
	return bound, nil
}

// paramBinder finds the meaning of one parameter after the other.
type paramBinder struct {
	known        []kernelParam
	maps         []mapSource
	listed, said map[string]bool // names of parameters that are there, and of numbers that a map says
}

func (b *paramBinder) bind(p KernelParam) (kernelParam, error) {
	if b.listed[p.Name] {
		return kernelParam{}, errors.New("is listed twice")
	}
	b.listed[p.Name] = true
	if p.Type == mapType {
		return b.bindMap(p)
	}
	i := slices.IndexFunc(b.known, func(k kernelParam) bool { return k.Name == p.Name })
	switch {
	case i < 0:
		return kernelParam{}, errors.New("is unknown")
	case b.known[i].KernelParam != p:
		return kernelParam{}, fmt.Errorf("has type %q, want %s", p, b.known[i].KernelParam)
	}
	return b.known[i], nil
}

func (b *paramBinder) bindMap(p KernelParam) (kernelParam, error) {
	var tensors []string
	for _, m := range b.maps {
		tensors = append(tensors, m.tensor)
	}
	i := slices.Index(tensors, p.Tensor)
	if i < 0 {
		return kernelParam{}, fmt.Errorf("is a map of %q, want one of %q", p.Tensor, tensors)
	}
	for _, name := range b.maps[i].replaces {
		b.said[name] = true
	}
	return kernelParam{KernelParam: p, view: b.maps[i].view}, p.verifyBox()
}

func (b *paramBinder) missing() (names []string) {
	for _, k := range b.known {
		if !b.listed[k.Name] && !b.said[k.Name] {
			names = append(names, k.Name)
		}
	}
	return names
}

// arguments packs the values of a call as Function.Launch takes them.
func (k *LoadedKernel) arguments(c *call) ([][]byte, error) {
	return packCall(k.params, k.mapper, k.info.DType, func(int) *call { return c })
}

// packCall packs the values of an attention kernel's parameters, of which number i is that of a call.
func packCall(params []kernelParam, mapper TensorMapper, dtype string, callOf func(i int) *call) ([][]byte, error) {
	args := packArguments(params, func(i int) uint64 { return params[i].value(callOf(i)) })
	for i, p := range params {
		var err error
		switch c := callOf(i); {
		case p.view != nil:
			args[i], err = encodeMap(mapper, p.Tensor, c.tensorMap(p.view(c), p.Box, dtype))
		case p.array != nil:
			args[i] = p.array(c)
		}
		if err != nil {
			return nil, err
		}
	}
	return args, nil
}

// packArguments packs numbers; the places of maps and arrays stay empty.
func packArguments(params []kernelParam, value func(i int) uint64) [][]byte {
	buf, args := make([]byte, 8*len(params)), make([][]byte, len(params))
	for i, p := range params {
		size, isNumber := paramBytes[p.Type]
		if !isNumber {
			continue
		}
		slot := buf[8*i : 8*i+8]
		binary.LittleEndian.PutUint64(slot, value(i))
		args[i] = slot[:size]
	}
	return args
}
