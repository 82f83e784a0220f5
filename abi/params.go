// Package abi is what compiler and runtime agree on: the parameters of kernels, what the words in device memory mean, and the sizes that
// both reckon with. It is data; it imports package ir alone.
package abi

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/ir"
)

// Param is one kernel parameter.
type Param = ir.KernelParam

// ParamBytes is the size of each type of parameter, in bytes.
var ParamBytes = map[string]int{"ptr": 8, "i64": 8, "i32": 4, "f32": 4, MapType: TensorMapBytes, RowHeadsType: RowHeadBytes * RowHeadsMost}

// Types of parameters that are no numbers.
const (
	MapType      = ir.MapType
	RowHeadsType = ir.RowHeadsType
)

// TensorMapBytes is the size of an encoded tensor map.
const TensorMapBytes = 128

// Typed reads a list of names, each type before its names: "ptr q k i32 sq". What a kernel reads and writes of a buffer stands in brackets
// behind its name: "ptr sums[reads 4*n] i32 n".
func Typed(list string) []Param {
	var out []Param
	kind := ""
	for list = strings.TrimSpace(list); list != ""; list = strings.TrimSpace(list) {
		end := strings.IndexAny(list, " \n\t[")
		if end < 0 {
			end = len(list)
		}
		word := list[:end]
		list = list[end:]
		if _, isType := ParamBytes[word]; isType {
			kind = word
			continue
		}
		p := Param{Name: word, Type: kind}
		if strings.HasPrefix(list, "[") {
			inside, rest, _ := strings.Cut(list[1:], "]")
			use(&p, inside)
			list = rest
		}
		out = append(out, p)
	}
	return out
}

// use notes what stands in the brackets: "reads 4*n", or "reads 4*n writes 4*n".
func use(p *Param, text string) {
	reads, writes, _ := strings.Cut(text, "writes ")
	size := func(text string) *ir.Expr {
		if text = strings.TrimSpace(text); text == "" {
			return nil
		}
		e, err := ir.ParseExpr(text)
		if err != nil {
			panic(fmt.Sprintf("abi: size of parameter %s: %v", p.Name, err)) // a slip in this package, found by its tests
		}
		return &e
	}
	p.Reads, p.Writes = size(strings.TrimPrefix(reads, "reads ")), size(writes)
}

// MapParam is the kernel parameter for a tensor map with dimensions {head dim, rows, heads, batch}, box {columns, rows, 1, 1},
// 128-byte swizzle, and zeros for what is out of bounds. Of a compacted copy the dimensions are {head dim, col_cap,
// batch * q heads, 1}.
func MapParam(name, tensor string, columns, rows int) Param {
	return Param{Name: name, Type: MapType, Tensor: tensor, Box: [2]int{columns, rows}}
}

// AttentionParams are the parameters of every attention kernel, before the pattern's parameters. Strides are in bytes.
//
//	q o             [batch, q heads, sq, head dim]      k v   [batch, kv heads, sk, head dim]
//	lse             float32 [batch, q heads, sq], natural log; null: not wanted
//	group           q heads of one kv head
//	scale_log2      softmax scale times log2(e)
var AttentionParams = Typed("ptr q k v o lse i64 q_batch q_head q_row k_batch k_head k_row v_batch v_head v_row " +
	"o_batch o_head o_row lse_batch lse_head i32 sq sk q_offset group f32 scale_log2")

// PatternParams are the launch parameters of a schedule, as kernels take them.
func PatternParams(s *ir.Schedule) (out []Param) {
	for _, p := range s.Params {
		if p.Binding == ir.BindLaunch {
			out = append(out, Param{Name: ir.ParamName(p.Name), Type: "i32"})
		}
	}
	return out
}

// Params lists the parameters of a kernel for a schedule, the parameters of its queue aside: AttentionParams, its launch parameters, the
// lists that its segments read, RouteParams, and SkipParams where it lets tiles be left out.
func Params(s *ir.Schedule) []Param {
	out := append(slices.Clone(AttentionParams), PatternParams(s)...)
	for _, l := range s.Lists() {
		for _, f := range ListFields[l.Kind] {
			f.Name = ir.ListName(l.Name, f.Name)
			out = append(out, f)
		}
	}
	out = append(out, RouteParams...)
	if s.Skip != nil {
		out = append(out, SkipParams...)
	}
	return out
}

// SkipParams are the parameters of kernels that leave out tiles of negligible weight (ir.Skip). H is batch times q heads.
//
//	skips       u32 [H, 2], 0 at the start of a launch: the tiles that the warps of a head met, and the tiles that they left out
//	skip_log2   log2 of the share
//
// A tile is the keys of a step for the query rows of one warp, or of a warpgroup where warpgroups multiply. Where row tiles are computed again,
// with nothing left out, they count as at first.
var SkipParams = Typed("ptr skips f32 skip_log2")

// SkipBytes is the size of a head's numbers.
const SkipBytes = 8

// SectionAsked lists the parameters of a section of a group, the parameters of its queue aside: Params without the pattern's parameters
// that no segment depends on, and the parameters of its kind of section.
func SectionAsked(s *ir.Schedule) []Param {
	used := map[string]bool{}
	for _, g := range s.Segments {
		for _, v := range g.Vars() {
			used[v] = true
		}
	}
	own := *s
	own.Params = slices.DeleteFunc(slices.Clone(s.Params), func(p ir.Param) bool { return !used[p.Name] })
	out := append(Params(&own), SectionParams...)
	if len(s.Lists()) > 0 {
		return append(out, SectionListParams...)
	}
	return append(append(out, SectionHeadsParams...), RowHeads)
}

// QueueParams are the parameters of a kernel whose blocks take one row tile after another, beside the others:
//
//	queue       u32 in device memory, 0 at the start of a launch: counts the tiles that were taken beyond each block's first
//	row_tiles   of a head
//	q_heads     of a batch entry
//	items       row tiles of the launch
var QueueParams = Typed("ptr queue i32 row_tiles q_heads items")

// QueueBytes is the size of the counter.
const QueueBytes = 4

// ListFields are the buffers of a chosen set, and their capacities in elements. H is batch times q heads.
//
//	runs     [H, run_cap] i32, run_count [H], covered [H, cover_words] bits: the tiles of chosen distances (ir/index.go)
//	blocks   [H, row blocks, block_cap] i32, block_count [H, row blocks]: chosen key blocks
//	spans    [H, row blocks, span_cap] i32, span_count [H, row blocks]: the caller's spans, as any numbers
//	keys     [H, row blocks, key_cap] i32, key_count [H, row blocks]: the caller's single keys
//	cols     [H, col_cap] i32 ascending, col_count [H], kc and vc [H, col_cap, head dim]: chosen columns and their K and V
//	means    kc and vc [H, col_cap, head dim]: mean K and V of pools; kept [H, row blocks, kept_words] bits: which key blocks were chosen
//	         for a row block, not read where no data chooses
//
// Of a choice by group, H is batch times kv heads.
var ListFields = map[ir.SourceKind][]Param{
	ir.SourceRuns:    Typed("ptr runs run_count i32 run_cap ptr covered i32 cover_words"),
	ir.SourceBlocks:  Typed("ptr blocks block_count i32 block_cap"),
	ir.SourceColumns: Typed("ptr cols col_count i32 col_cap ptr kc vc"),
	ir.SourceSpans:   Typed("ptr spans span_count i32 span_cap"),
	ir.SourceKeys:    Typed("ptr keys key_count i32 key_cap"),
	ir.SourceMeans:   Typed("ptr kept i32 kept_words ptr kc vc i32 col_cap"),
}

// RouteParams let kernels share the heads of a call: each computes the heads that were routed to it and leaves the others
// to other kernels. H is batch times q heads.
//
//	route   i32 [H]: which kernel a head is for (ir.RouteSparse and the words beside it); null: this one computes all
//	taken   the word of the heads that this kernel computes
var RouteParams = Typed("ptr route i32 taken")

// HeadsParam lets heads take no part in a kernel of the index stage: it is route, ir.RouteElsewhere for these heads; null: all take part.
var HeadsParam = Param{Name: "heads", Type: "ptr"}

// SectionParams are the parameters that every section of a group has beside the parameters of a kernel:
//
//	row0, rows   of the grid: one for each head, or as many as the blocks of a kernel with a queue need; 0 rows: not in this launch
//	q_heads      that lists and routes have of a batch entry
var SectionParams = Typed("i32 row0 rows q_heads")

// SectionListParams are the parameters of a section with lists:
//
//	head0        of the tensors, which is head 0 of the lists
//	row_tiles    of a head
var SectionListParams = Typed("i32 head0 row_tiles")

// SectionHeadsParams are the parameters of a section without lists, whose rows are its own heads. The host knows these heads, so no kernel
// has to store them and no block starts in vain:
//
//	heads_at     what to add to the number of one of the section's rows to get its place in row_heads
//
// The route of such a section, if it has one, is relative to head 0 of the tensors, which may not be there.
var SectionHeadsParams = Typed("i32 heads_at")

// SectionQueueParams are the parameters of a section whose blocks take one row tile after another: queue and items of QueueParams, and
//
//	blocks       that take tiles; of blocks that take several at a time, each of these counts
var SectionQueueParams = Typed("ptr queue i32 items blocks")

// RowHeads says of RowHeadsMost rows of a group's grid, the rows of sections without lists, which head of the tensors each is.
var RowHeads = Param{Name: "row_heads", Type: RowHeadsType}

// RowHeadsMost is how many places row_heads has, a u16 each: a launch has at most 65535 heads, so every number fits.
const (
	RowHeadsMost = 128
	RowHeadBytes = 2
)

// SectionParam is the parameter of a group for parameter name of section n.
func SectionParam(n int, name string) string { return fmt.Sprintf("s%d_%s", n, name) }

// ParamLimit is how many bytes of parameters a kernel can have (CUDA programming guide, "function parameters").
const ParamLimit = 4096
