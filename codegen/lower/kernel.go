// Package lower holds what all backends share: the description of a kernel, a builder for LLVM IR in NVVM style, and the
// lowering of a schedule's bounds. It knows the schedule, not the language.
package lower

import (
	"fmt"
	"slices"
	"strings"

	llir "github.com/llir/llvm/ir"

	"github.com/minfc/minfc/ir"
)

// DType is the type of q, k, v and o. Products accumulate in float32, P is rounded to it for the second product.
type DType string

const (
	BF16 DType = "bf16"
	F16  DType = "f16"
)

// Config selects one kernel of a schedule.
type Config struct {
	HeadDim int
	DType   DType
	Target  string

	BesideLists bool // of groups: ranges are cut to the target's BesideLists, and blocks are those of kernels with lists
}

// Kernel is one compiled-to-be kernel: its LLVM IR and what a runtime must know to launch it.
type Kernel struct {
	Module      *llir.Module
	Entry       string
	Threads     int // of a block
	SharedBytes int // dynamic shared memory of a block
	BlockRows   int // query rows that a block takes at a time; 0: those of the schedule's tile
	BlocksPerSM int // of kernels with QueueParams, which are launched with as many blocks as run at once; else 0
	Params      []Param
	Sections    []Section // of a group
}

// Section is what a runtime must know of a group's section to launch it.
type Section struct {
	TileRows    int // query rows of a row tile
	Tiles       int // row tiles that a block takes at a time, neighbours along x; with a queue each is a block of its own to it
	BlocksPerSM int // of sections with QueueParams, as many blocks of which take part as run at once; else 0
}

// Param is one kernel parameter, in order. Type is one of ptr, i32, i64, f32; map: a tensor map for TMA, 128 bytes by value; or heads:
// RowHeadsMost i16 by value.
type Param struct {
	Name, Type string

	Tensor string // of a map: q, k, v, o, or the ListParam of a compacted copy (kc, vc)
	Box    [2]int // of a map: columns and rows of what one copy takes
}

// MapParam is the kernel parameter for a tensor map with dimensions {head dim, rows, heads, batch}, box {columns, rows, 1, 1},
// 128-byte swizzle, and zeros for what is out of bounds. Of a compacted copy the dimensions are {head dim, col_cap,
// batch * q heads, 1}.
func MapParam(name, tensor string, columns, rows int) Param {
	return Param{name, "map", tensor, [2]int{columns, rows}}
}

// typedParams reads a list of names, each type before its names: "ptr q k i32 sq".
func typedParams(list string) []Param {
	var out []Param
	kind := ""
	for _, word := range strings.Fields(list) {
		if _, isType := paramTypes[word]; isType {
			kind = word
		} else {
			out = append(out, Param{Name: word, Type: kind})
		}
	}
	return out
}

// PatternParam is the kernel parameter that carries the pattern's parameter name.
func PatternParam(name string) string { return "p_" + name }

// AttentionParams are the parameters of every attention kernel, before those of the pattern. Strides are in bytes.
//
//	q o             [batch, q heads, sq, head dim]      k v   [batch, kv heads, sk, head dim]
//	lse             float32 [batch, q heads, sq], natural log; null: not wanted
//	group           q heads of one kv head
//	scale_log2      softmax scale times log2(e)
var AttentionParams = typedParams("ptr q k v o lse i64 q_batch q_head q_row k_batch k_head k_row v_batch v_head v_row " +
	"o_batch o_head o_row lse_batch lse_head i32 sq sk q_offset group f32 scale_log2")

// Params lists the kernel parameters for a schedule: AttentionParams, its launch parameters, then the lists its segments
// read, and RouteParams.
func Params(s *ir.Schedule) []Param {
	out := append([]Param(nil), AttentionParams...)
	for _, p := range s.Params {
		if p.Binding == ir.BindLaunch {
			out = append(out, Param{Name: PatternParam(p.Name), Type: "i32"})
		}
	}
	for _, l := range Lists(s) {
		for _, f := range listFields[l.Kind] {
			out = append(out, Param{Name: ListParam(l.Name, f.Name), Type: f.Type})
		}
	}
	return append(out, RouteParams...)
}

// QueueParams are those of a kernel whose blocks take one row tile after another, beside the others:
//
//	queue       u32 in device memory, 0 at the start of a launch: counts the tiles that were taken beyond each block's first
//	row_tiles   of a head
//	q_heads     of a batch entry
//	items       row tiles of the launch
var QueueParams = []Param{{Name: "queue", Type: "ptr"}, {Name: "row_tiles", Type: "i32"}, {Name: "q_heads", Type: "i32"}, {Name: "items", Type: "i32"}}

// ListParam is the kernel parameter for one field of the lists that the index definition name chose.
func ListParam(name, field string) string { return "i_" + name + "_" + field }

// listFields are the buffers of a chosen set, and their capacities in elements. H is batch times q heads.
//
//	runs     [H, run_cap] i32, run_count [H], covered [H, cover_words] bits: the tiles of chosen distances (ir/index.go)
//	blocks   [H, row blocks, block_cap] i32, block_count [H, row blocks]: chosen key blocks
//	cols     [H, col_cap] i32 ascending, col_count [H], kc and vc [H, col_cap, head dim]: chosen columns and their K and V
var listFields = map[ir.SourceKind][]Param{
	ir.SourceRuns:    typedParams("ptr runs run_count i32 run_cap ptr covered i32 cover_words"),
	ir.SourceBlocks:  typedParams("ptr blocks block_count i32 block_cap"),
	ir.SourceColumns: typedParams("ptr cols col_count i32 col_cap ptr kc vc"),
}

// Lists are the chosen sets that a schedule's segments read, in the order of their first use.
func Lists(s *ir.Schedule) []ir.Source {
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

// CheckHeadDim says whether any backend can be asked for head dim d.
func CheckHeadDim(d int) error {
	if d < 16 || d > 256 || d%16 != 0 {
		return fmt.Errorf("head dim %d is not supported: want a multiple of 16 from 16 to 256", d)
	}
	return nil
}
