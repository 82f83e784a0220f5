package lower

import (
	"errors"
	"fmt"
	"slices"

	llir "github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// A group is several attention kernels in one: all heads of a layer in one launch, each head with a schedule of its own. The rows
// (y) of the grid are shared out among sections, which are some heads of one schedule; a block finds the section whose row it
// is in and goes to the code of its schedule, the body. What q, k, v, o and the lengths are is the same for all; everything else
// is a section's own. docs/design-plans.md has the reasons.

// groupEntry is the name of a group's kernel.
const groupEntry = "attention_group"

// ErrParams says that a group has more.
var ErrParams = errors.New("too many kernel parameters for one launch")

// Body is the code of one schedule in a group.
type Body struct {
	Params []Param // abi.SectionAsked, and what else it takes
	Emit   func(b *Builder)

	sections []int // that it computes
}

// NewGroup makes a group's kernel with a section for each schedule, of which there is one at least; body is the code for one of them.
// Parameters that say the same for all sections are there once; if they are too many the error is an ErrParams. What blocks share in
// memory, and the sections, are left to fill in.
func NewGroup(schedules []*ir.Schedule, threads, minBlocks int, body func(n int) Body) (*Kernel, error) {
	var bodies []Body
	var params []Param
	for _, sections := range alike(schedules) {
		if err := CheckLists(schedules[sections[0]]); err != nil {
			return nil, err
		}
		own := body(sections[0])
		own.sections = sections
		bodies = append(bodies, own)
		for _, s := range sections {
			for _, p := range own.Params {
				if p = paramOf(p, s); !slices.Contains(params, p) {
					params = append(params, p)
				}
			}
		}
	}
	// Maps are aligned: together they leave no gaps.
	slices.SortStableFunc(params, func(a, b Param) int { return abi.ParamBytes[b.Type] - abi.ParamBytes[a.Type] })
	if n := bytesOf(params); n > abi.ParamLimit {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrParams, n, abi.ParamLimit)
	}
	b := NewKernel(groupEntry, params, threads, minBlocks)
	b.dispatch(bodies)
	return &Kernel{Module: b.Module, Entry: groupEntry, Threads: threads, Params: params}, nil
}

// paramOf is the parameter of a group that a body's parameter is for section n.
func paramOf(p Param, n int) Param {
	common := p == abi.RowHeads || p == abi.LengthsParam || slices.Contains(abi.AttentionParams, p)
	if p.Type == abi.MapType {
		common = slices.Contains([]string{"q", "k", "v", "o"}, p.Tensor)
		if common { // bodies copy by boxes of their own
			p.Name = fmt.Sprintf("map_%s_%dx%d", p.Tensor, p.Box[0], p.Box[1])
		} else {
			p.Tensor = abi.SectionParam(n, p.Tensor)
		}
	}
	if !common {
		p.Name = abi.SectionParam(n, p.Name)
	}
	return p
}

func bytesOf(params []Param) (n int) {
	for _, p := range params {
		n += abi.ParamBytes[p.Type]
	}
	return n
}

// dispatch sends every block to the body of its section. Blocks in no section's rows end.
func (b *Builder) dispatch(bodies []Body) {
	type jump struct {
		from, next *llir.Block
		own        Value
	}
	jumps := make([][]jump, len(bodies))
	builders := make([]*Builder, len(bodies))
	for i, body := range bodies {
		builders[i] = b.bodyBuilder(body)
		for _, s := range builders[i].sections {
			own, next := b.isIn(s), b.NewBlock("dispatch")
			jumps[i] = append(jumps[i], jump{b.Block, next, own})
			b.Enter(next)
		}
	}
	b.Block.NewRet(nil)
	for i, body := range bodies {
		start := b.NewBlock("body")
		for _, j := range jumps[i] {
			j.from.NewCondBr(j.own, start, j.next)
		}
		builders[i].Enter(start)
		body.Emit(builders[i])
	}
}

// sectionValues are the parameters of a section by the names that they have in its body.
type sectionValues map[string]Value

// isIn says whether the block's row is one of a section.
func (b *Builder) isIn(s sectionValues) Value {
	return b.ICmp(enum.IPredULT, b.Sub(b.BlockY(), s["row0"]), s["rows"])
}

// bodyBuilder is a builder that finds the group's parameters under the names that they have in a body.
func (b *Builder) bodyBuilder(body Body) *Builder {
	own := *b
	own.params, own.sections = map[string]Value{}, make([]sectionValues, len(body.sections))
	for _, p := range body.Params {
		for i, s := range body.sections {
			if own.sections[i] == nil {
				own.sections[i] = sectionValues{}
			}
			own.sections[i][p.Name] = b.params[paramOf(p, s).Name]
		}
		if value := own.sections[0][p.Name]; len(body.sections) == 1 || value == own.sections[1][p.Name] {
			own.params[p.Name] = value
		}
	}
	return &own
}

// paramOfSection is the parameter of the section that the block is in. It is chosen where it is used: everything about it is alike
// for all threads, and computed beside the work of vectors.
func (b *Builder) paramOfSection(name string) Value {
	var v Value
	for _, s := range b.sections {
		switch {
		case s[name] == nil:
			panic("internal: no parameter " + name + " in a section")
		case v == nil:
			v = s[name]
		default:
			v = b.Select(b.isIn(s), s[name], v)
		}
	}
	if v == nil {
		panic("internal: no kernel parameter " + name)
	}
	return v
}

// alike lists the sections of schedules that can share a body, in the order of their first. Those with lists have one each:
// where lists are would have to be chosen in the midst of their work.
func alike(schedules []*ir.Schedule) (bodies [][]int) {
	texts := map[string]int{}
	for i, s := range schedules {
		if len(s.Lists()) > 0 {
			bodies = append(bodies, []int{i})
			continue
		}
		shape := ir.Schedule{Tile: s.Tile, Order: s.Order, Segments: s.Segments}
		if s.Skip != nil { // whose share is an argument
			shape.Skip = &ir.Skip{}
		}
		text := shape.String()
		n, there := texts[text]
		if !there {
			n, texts[text] = len(bodies), len(bodies)
			bodies = append(bodies, nil)
		}
		bodies[n] = append(bodies[n], i)
	}
	return bodies
}

// LeaveSection ends a block that has nothing to compute: so many tiles a block along x, all of its tiles lie beyond those of its section,
// because another has more; or its head's word names another section.
func (k *RowTile) LeaveSection(tiles int) {
	k.LeaveUnless(k.ICmp(enum.IPredSLT, k.MulBy(k.BlockX(), tiles), k.At.Tiles()), nil)
	k.LeaveOthers(k.HeadIndex())
	if tiles == 1 {
		k.LeaveAbsent()
	}
}

// SectionWorkTile is the tile of a block in a group where every tile has one: tiles along x, batch along z, and along y heads: all that the
// section spans if it has lists, for those are counted by head; else those that row_heads names.
func (k *RowTile) SectionWorkTile() WorkTile {
	param := func(name string) func() Value { return func() Value { return k.Param(name) } }
	at := WorkTile{Tile: k.BlockX, Heads: param("q_heads"), Batch: k.BlockZ}
	if k.HasLists() {
		at.Tiles, at.Head0 = param("row_tiles"), param("head0")
		at.Head = func() Value { return k.Sub(k.BlockY(), k.Param("row0")) }
		return at
	}
	// Sections may share this code: what follows from the layer's numbers need not be chosen among theirs, in the midst of the loop.
	at.Tiles = func() Value { return k.UDivBy(k.Add(k.Param("sq"), I32(int64(k.Rows-1))), k.Rows) }
	at.Head = func() Value { return k.rowHead(k.Add(k.BlockY(), k.Param("heads_at"))) }
	return at
}

// rowHead is entry i of row_heads.
func (b *Builder) rowHead(i Value) Value {
	entries := b.Block.NewBitCast(b.Param(abi.RowHeads.Name), types.I16Ptr)
	return b.Block.NewZExt(b.Load(types.I16, b.Block.NewGetElementPtr(types.I16, entries, i), 2), types.I32)
}
