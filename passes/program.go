package passes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Program makes the launch program of a schedule's index stage: which kernels compute the lists that the schedule reads, and in which
// memory. Attend adds the kernels of attention. A composition of primitives that no kernels compute is an error.
//
// The table forms has the compositions. Choices of columns and distances start from the sums of a probe (programprobes.go), choices of
// blocks from scores (programblocks.go), of which each kind has a file. programdecide.go has what is decided from the lists.
func Program(s *ir.Schedule) (*ir.Program, error) {
	b := &programBuilder{Program: &ir.Program{Name: s.Name}, schedule: s, defs: map[string]ir.Index{}, shaped: map[string]bool{}}
	for _, d := range s.Index {
		b.defs[d.Name] = d.Value
	}
	b.lengths()
	for _, d := range s.Index {
		if of, ok := d.Value.(ir.Select); ok {
			if err := b.choice(d.Name, of); err != nil {
				return nil, fmt.Errorf("index %q of %s: %w", d.Name, s.Name, err)
			}
		}
	}
	b.packProbes()
	b.build()
	return b.Program, nil
}

// programBuilder collects a program.
type programBuilder struct {
	*ir.Program
	schedule *ir.Schedule
	defs     map[string]ir.Index
	probes   []probe
	choices  []choice
	rows     []ir.Row
	shaped   map[string]bool // pools that are there
}

// choice is a chosen set: where its numbers and lists are.
type choice struct {
	ir.Select
	source ir.Source
	row    int         // of its numbers, in the rows that are stored; the most and the least are in the next ones
	probe  int         // number of the probe behind it, of columns and distances
	run    int64       // neighbouring distances that are chosen together, and are one candidate; 1 of anything else
	scores blockScores // of blocks: what it chooses from
}

// form is a composition of values that kernels compute. It reads the definitions backwards, from the one that a choice is made from,
// and leaves with the choice what it found; false: the definitions are something else.
type form struct {
	what string
	read func(b *programBuilder, of string, c *choice) bool
}

var forms = []form{
	{"sums of the softmax of a probe", (*programBuilder).readSums},
	{"products of pooled rows, or their softmax", (*programBuilder).readPooled},
	{"sums of the softmax of squares", (*programBuilder).readSquares},
}

// computed lists the forms, for an error.
func computed() string {
	var out []string
	for _, f := range forms {
		out = append(out, f.what)
	}
	return strings.Join(out, ", ")
}

// defined is the definition called name, if it is a T.
func defined[T ir.Index](b *programBuilder, name string) (T, bool) {
	x, ok := b.defs[name].(T)
	return x, ok
}

// heads is how many lists the choice makes, or lists of every row block: H of abi.ListFields.
func (c choice) heads() ir.Expr {
	if c.ByGroup {
		return allGroups
	}
	return allHeads
}

func (c choice) name(field string) string   { return ir.ListName(c.source.Name, field) }
func (c choice) value(field string) ir.Expr { return ir.Name(c.name(field)) }

// Names of the launch, as expressions.
var (
	batch, qHeads, kvHeads, group = ir.Name("batch"), ir.Name("q_heads"), ir.Name("kv_heads"), ir.Name("group")
	sq, sk, qOffset, headDim      = ir.Name("sq"), ir.Name("sk"), ir.Name("q_offset"), ir.Name("head_dim")
	allGroups                     = batch.Times(kvHeads)
	allHeads                      = batch.Times(qHeads)
	rowBlocks, keyBlocks          = ir.Name("row_blocks"), ir.Name("key_blocks")
	reach, columns                = ir.Name("reach"), ir.Name("columns")
	keysPad, distPad              = ir.Name("keys_pad"), ir.Name("dist_pad")
	scratch                       = ir.Name("scratch_bytes")
)

func padded(e ir.Expr) ir.Expr { return ir.N(ir.BlockSize).Times(e.Over(ir.BlockSize)) }

// clipped is a number as a number of things.
func clipped(n ir.Number) ir.Expr {
	if p, is := n.(ir.Poly); is {
		return ir.Call(ir.OpCount, ir.PolyExpr(p))
	}
	return ir.NumberExpr(n, columns)
}

func (b *programBuilder) define(name string, e ir.Expr) ir.Expr {
	b.Values = append(b.Values, ir.Value{Name: name, Expr: e})
	return ir.Name(name)
}

func (b *programBuilder) most(name string, e ir.Expr) ir.Expr {
	b.Values = append(b.Values, ir.Value{Name: name, Most: true, Expr: e})
	return ir.Name(name)
}

func (b *programBuilder) buffer(name, kind string, passing bool, shape ...ir.Expr) {
	if !b.shaped[name] {
		b.shaped[name] = true
		b.Buffers = append(b.Buffers, ir.Buffer{Name: name, Type: kind, Shape: shape, Passing: passing})
	}
}

// lengths defines what follows from the lengths: positions 0..reach-1 are the positions of the queries, of what they may see, and of the
// queries that lists were chosen for; columns are the keys that some query may see.
func (b *programBuilder) lengths() {
	if _, means := b.schedule.Means(); len(b.schedule.Index) == 0 && !means {
		return
	}
	b.define("reach", ir.Call(ir.OpMax, qOffset.Plus(sq), ir.Name("least_reach")))
	b.define("columns", ir.Call(ir.OpMin, sk, reach))
	b.define("row_blocks", sq.Over(ir.BlockSize))
	b.define("key_blocks", sk.Over(ir.BlockSize))
	b.define("keys_pad", padded(sk))
	b.define("dist_pad", padded(reach).Plus(ir.N(2*ir.BlockSize)))
	b.Limits = append(b.Limits, ir.Limit{Value: allHeads, Most: 1<<16 - 1,
		What: "Batch times QHeads of a pattern that data decides; split larger calls"})
}

// choice follows a Select to the q and k that it starts from.
func (b *programBuilder) choice(name string, s ir.Select) error {
	kind, _ := ir.IndexType(b.schedule.Index, name)
	chosen, _ := kind.Chosen()
	c := choice{Select: s, source: ir.Chosen{Name: name, Kind: chosen}.Source(), row: len(b.rows),
		run: int64(ir.RunSize(b.schedule.Index, name, nil))}
	if !slices.ContainsFunc(forms, func(f form) bool { return f.read(b, s.Of, &c) }) {
		return fmt.Errorf("internal: a choice from %q, which no kernels compute; they compute %s", s.Of, computed())
	}
	b.numbers(&c)
	b.choices = append(b.choices, c)
	return nil
}

// encodings are how kernels want the numbers of rules.
var encodings = map[ir.Rule]ir.Encoding{ir.TopP: ir.AsShare, ir.Above: ir.AsThreshold, ir.NearMax: ir.AsFraction}

// numbers says what is stored of a choice for every head, and how many members the head with most of them has.
func (b *programBuilder) numbers(c *choice) {
	n, limit := clipped(c.N), ir.N(ir.MaxParam)
	if c.Most != nil {
		limit = clipped(c.Most)
	}
	switch c.Rule {
	case ir.Top:
		if c.Most != nil {
			n = ir.Call(ir.OpMin, n, limit)
		}
		b.rows, limit = append(b.rows, ir.Row{As: ir.AsCount, Expr: n}), n
	default:
		b.rows = append(b.rows, ir.Row{As: encodings[c.Rule], Expr: n}, ir.Row{As: ir.AsCount, Expr: limit})
		if c.Least != nil {
			b.rows = append(b.rows, ir.Row{As: ir.AsCount, Expr: clipped(c.Least)})
		}
	}
	for i := c.row; i < len(b.rows); i++ {
		b.rows[i].ByGroup = c.ByGroup
	}
	candidates := columns
	switch c.source.Kind {
	case ir.SourceRuns:
		candidates = c.distances()
	case ir.SourceBlocks:
		candidates = columns.Over(ir.BlockSize)
	}
	forced := b.define(c.name("forced"), clipped(c.First).Plus(clipped(c.Last)))
	limit = b.most(c.name("limit"), limit)
	b.define(c.name("most"), ir.Call(ir.OpMin, ir.Call(ir.OpMax, forced, limit), candidates))
}

// build puts the parts together.
func (b *programBuilder) build() {
	b.store()
	b.buffer("queue", "u32", false, ir.N(1))
	if b.schedule.Skip != nil {
		b.buffer("skips", "u32", false, allHeads, ir.N(abi.SkipBytes/4))
	}
	for _, c := range b.choices {
		b.listBuffers(c)
	}
	b.meanBuffers()
	if len(b.choices) > 0 {
		b.buffer("nanos", "f32", false, allHeads)
	}
	choose := append(b.chooseSums(), b.listSteps()...)
	pool, blocks := b.chooseBlocks()
	b.part(ir.PartPool, pool)
	b.part(ir.PartChoose, append(choose, blocks...))
	b.part(ir.PartGather, append(b.gather(), b.means()...))
	b.part(ir.PartDecide, b.decide())
	if len(b.choices) > 0 {
		launches := ir.N(b.countKernels() + 1) // and the second kernel of attention
		b.Work = append([]ir.Work{{Unit: ir.WorkLaunches, Amount: launches}}, b.Work...)
	}
}

// countKernels is how many different kernels run, each in one of its sizes.
func (b *programBuilder) countKernels() int64 {
	kernels := map[string]bool{}
	for _, n := range b.KernelNames() {
		n, _, _ = strings.Cut(n, ".")
		kernels[n] = true
	}
	return int64(len(kernels))
}

func (b *programBuilder) part(name string, steps []ir.Step) {
	if len(steps) > 0 {
		b.Parts = append(b.Parts, ir.Part{Name: name, Steps: steps})
	}
}

// store has the numbers by head, and the words of heads behind them.
func (b *programBuilder) store() {
	words := ir.N(int64(len(b.rows))).Times(qHeads).Plus(allHeads)
	if b.someByGroup(func(choice) bool { return true }) {
		words = words.Plus(allGroups)
	}
	const each = abi.StoreWordsCount // a launch writes that many, whatever is needed
	b.buffer("numbers", "i32", false, ir.N(each).Times(words.Over(each)))
	b.part(ir.PartNumbers, []ir.Step{ir.Store{Buffer: "numbers", Kernel: abi.StoreWords, Rows: b.rows}})
}

// listBuffers are the lists that attention reads of a choice, and the bitmap that they are made from.
func (b *programBuilder) listBuffers(c choice) {
	list := func(field, kind string, shape ...ir.Expr) {
		b.buffer(c.name(field), kind, false, append([]ir.Expr{c.heads()}, shape...)...)
	}
	one := ir.N(1)
	switch c.source.Kind {
	case ir.SourceBlocks:
		b.define(c.name("block_cap"), ir.Call(ir.OpMax, one, c.value("most")))
		list("blocks", "i32", rowBlocks, c.value("block_cap"))
		list("block_count", "i32", rowBlocks)
	case ir.SourceRuns:
		tiles := ir.Call(ir.OpFloorDiv, reach, ir.N(ir.BlockSize)).Plus(ir.N(2))
		b.define(c.name("run_cap"), ir.Call(ir.OpMax, one, ir.Call(ir.OpMin, c.mostTiles(), tiles)))
		b.define(c.name("cover_words"), distPad.Plus(ir.N(ir.BlockSize)).Over(32))
		list("bits", "u32", distPad.Over(32))
		list("runs", "i32", c.value("run_cap"))
		list("run_count", "i32")
		list("covered", "u32", c.value("cover_words"))
	default:
		b.define(c.name("col_cap"), padded(c.value("most")).Plus(ir.N(ir.BlockSize))) // one slot more than there are
		b.Limits = append(b.Limits, ir.Limit{Value: c.heads().Times(c.value("col_cap")), Most: 1<<31 - 1,
			What: "the number of chosen columns in all heads; split the batch or lower the budget"})
		list("bits", "u32", keysPad.Over(32))
		list("cols", "i32", c.value("col_cap"))
		list("col_count", "i32")
		list("kc", "elem", c.value("col_cap"), headDim)
		list("vc", "elem", c.value("col_cap"), headDim)
	}
}

// same lists arguments that point to the start of buffers.
func (c choice) same(fields ...string) (out []ir.Arg) {
	for _, f := range fields {
		out = append(out, ir.AddressArg(f, c.name(f), ir.N(0)))
	}
	return out
}

// listSteps turn bitmaps into lists.
func (b *programBuilder) listSteps() (out []ir.Step) {
	for _, kind := range []ir.SourceKind{ir.SourceRuns, ir.SourceColumns} {
		for _, c := range b.choices {
			if c.source.Kind == kind {
				out = append(out, c.list())
			}
		}
	}
	return out
}

func (c choice) list() ir.Run {
	grid, args := [3]ir.Expr{c.heads(), ir.N(1), ir.N(1)}, c.takingPart()
	if c.source.Kind == ir.SourceRuns {
		return ir.Run{Kernel: abi.Runs, Grid: grid, Args: append(append(c.same("runs", "run_count", "covered"),
			ir.AddressArg("dist_bits", c.name("bits"), ir.N(0)), ir.NumberArg("words", distPad.Over(32)),
			ir.NumberArg("run_cap", c.value("run_cap")), ir.NumberArg("cover_words", c.value("cover_words"))), args...)}
	}
	return ir.Run{Kernel: abi.Columns, Grid: grid, Args: append(append(c.same("cols", "col_count"),
		ir.AddressArg("col_bits", c.name("bits"), ir.N(0)), ir.NumberArg("words", keysPad.Over(32)), ir.NumberArg("col_cap", c.value("col_cap"))), args...)}
}

// gather copies K and V of listed columns.
func (b *programBuilder) gather() (out []ir.Step) {
	for _, c := range b.choices {
		if c.source.Kind == ir.SourceColumns {
			heads := []ir.Arg{ir.NumberArg("hq", qHeads)}
			if c.ByGroup {
				heads = []ir.Arg{ir.NumberArg("hq", kvHeads), ir.NumberArg("group", ir.N(1))}
			}
			out = append(out, ir.Run{Kernel: abi.Compact, Grid: [3]ir.Expr{c.value("col_cap").Over(abi.CompactRows), c.heads(), ir.N(1)},
				Args: append(append(c.same("cols", "col_count", "kc", "vc"), ir.NumberArg("col_cap", c.value("col_cap"))), heads...)})
		}
	}
	return out
}
