package runtime

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/minfc/minfc/ir"
)

// The workspace of a call holds all that its index stage computes. A table of buffers says how many bytes of what lie where.

// Sizes that the index kernels share with the runtime.
const (
	longestChunk    = 16      // tiles of 64 keys that a block of the probe takes at most
	shortestChunk   = 2       // and at least, to make
	fullGrid        = 256     // blocks of short inputs
	maxKeyBlocks    = 1 << 15 // that block_select can choose from
	blockSelectKeys = 32      // scores that a thread of it holds
	scoreRows       = 64      // row blocks and key blocks of one block of block_scores
	scoreKeys       = 128
	squareTile      = 128       // rows and columns of squares of one block of square_scores
	maxScratchBytes = 256 << 20 // of the sums, and of the block scores, that are held at a time
	workspaceAlign  = 256
	listPad         = ir.BlockSize // columns are padded to whole slots, and by one more
)

// indexCall is the index stage of one call, in numbers.
type indexCall struct {
	*call
	heads   int   // Batch * QHeads
	reach   int   // positions 0..reach-1 are those of queries and what they may see
	columns int   // keys that some query may see
	scratch int64 // bytes of sums that are held at a time
	probes  []probeCall
	slices  []probeSlice // of the heads, for the sums of probes
	choices []choiceCall
	buffers map[string]buffer
	bytes   int64 // of all buffers
	kept    int64 // of those that attention or ReadChosen read; the others come behind them
	slab    int   // row blocks whose block scores are held at a time

	scoreRows  int // rows of scores of one row block
	budgetRows int // of numbers by head
}

// choiceCall is one chosen set in numbers.
type choiceCall struct {
	indexChoice
	row         int     // of the budgets, in the buffer of all numbers by head; the next one are the limits
	budgets     []int32 // [QHeads], as the kernel of the rule wants them
	limits      []int32 // [QHeads], how many at most; nil where the budget is a number
	most        int     // members that the head with the largest number gets, at most
	first, last int     // forced
}

// buffer is a part of the workspace.
type buffer struct{ offset, bytes int64 }

// planCall puts numbers to the plan. The lists of the call are set to their places if the call has a workspace.
func (k *LoadedKernel) planCall(c *call) (*indexCall, error) {
	x := &indexCall{call: c, scratch: k.scratchBytes, heads: c.Batch * c.QHeads, reach: c.QOffset + c.SeqQ, buffers: map[string]buffer{}}
	x.columns = min(c.SeqK, x.reach)
	var each int
	x.scoreRows, each = k.plan.scoreRows()
	x.slab = slabRows(k.scratchBytes, x.heads*x.scoreRows*each, x.keyBlocks(), x.rowBlocks())
	if x.heads > maxGridYZ && len(k.plan.choices) > 0 {
		return nil, badCall("Batch times QHeads is %d, want at most %d for a pattern that data decides; split larger calls", x.heads, maxGridYZ)
	}
	if err := x.planProbes(k); err != nil {
		return nil, err
	}
	values, err := k.headValues(c)
	if err != nil {
		return nil, err
	}
	for _, choice := range k.plan.choices {
		n, err := x.number(choice, values)
		if err != nil {
			return nil, err
		}
		n.row = x.budgetRows
		x.budgetRows += len(n.rows())
		x.choices = append(x.choices, n)
	}
	x.layOut()
	return x, x.CheckSizes()
}

// headValues are the values of all parameters for each head; one for all if no head has its own.
func (k *LoadedKernel) headValues(c *call) ([]map[string]int64, error) {
	for _, name := range slices.Sorted(maps.Keys(c.HeadParams)) {
		switch got := len(c.HeadParams[name]); {
		case !slices.Contains(k.plan.headParams, name):
			return nil, badCall("HeadParams has %q, want parameters that are budgets of the index stage and nothing else: %q", name, k.plan.headParams)
		case got != c.QHeads:
			return nil, badCall("HeadParams has %d values of %s, want one for each of %d query heads", got, name, c.QHeads)
		}
	}
	if len(c.HeadParams) == 0 {
		return []map[string]int64{c.values}, nil
	}
	out := make([]map[string]int64, c.QHeads)
	for h := range out {
		if !c.takesPart(h) {
			continue
		}
		given := maps.Clone(c.Params)
		if given == nil {
			given = map[string]int64{}
		}
		for name, values := range c.HeadParams {
			given[name] = values[h]
		}
		var err error
		if out[h], err = ir.CheckLaunch(k.schedule.Params, k.schedule.Requires, given); err != nil {
			return nil, badCall("head %d: %w", c.section.head0+h, err)
		}
	}
	return out, nil
}

// number evaluates the polynomials of a choice.
func (x *indexCall) number(choice indexChoice, values []map[string]int64) (choiceCall, error) {
	n := choiceCall{indexChoice: choice}
	eval := func(p ir.Poly, head int) int {
		v, err := p.Eval(values[head%len(values)])
		if err != nil {
			return ir.MaxParam // larger than any length
		}
		return int(min(max(v, 0), ir.MaxParam))
	}
	n.first, n.last = eval(choice.first, 0), eval(choice.last, 0)
	most := n.first + n.last
	for h := range x.QHeads {
		if !x.takesPart(h) {
			n.add(choice.rule, 0, 0)
			continue
		}
		budget, limit := eval(choice.n, h), ir.MaxParam
		if choice.most != nil {
			limit = eval(*choice.most, h)
		}
		if choice.rule == ir.Top {
			limit = min(budget, limit)
			budget = limit
		}
		n.add(choice.rule, budget, limit)
		most = max(most, limit)
	}
	n.most = min(most, x.candidates(choice.source.Kind))
	if choice.source.Kind == ir.SourceBlocks && blocksOf(x.SeqK) > maxKeyBlocks {
		return n, badCall("SeqK is %d, want at most %d for chosen blocks", x.SeqK, maxKeyBlocks*ir.BlockSize)
	}
	return n, nil
}

// add appends the numbers of a head.
func (n *choiceCall) add(rule ir.Rule, budget, limit int) {
	n.budgets = append(n.budgets, encodeBudget(rule, budget))
	if rule != ir.Top {
		n.limits = append(n.limits, int32(limit))
	}
}

// encodeBudget is a budget as the kernel of its rule wants it.
func encodeBudget(rule ir.Rule, n int) int32 {
	switch rule {
	case ir.TopP:
		return int32(min(n, 1000)) // thousandths
	case ir.Above: // the smallest float32 above so many millionths
		threshold := float64(n) / 1e6
		below := float32(threshold)
		if float64(below) > threshold {
			below = math.Nextafter32(below, 0)
		}
		return int32(math.Float32bits(below)) + 1
	default:
		return int32(n)
	}
}

// rows are the numbers by head of a choice.
func (n choiceCall) rows() [][]int32 {
	if n.limits == nil {
		return [][]int32{n.budgets}
	}
	return [][]int32{n.budgets, n.limits}
}

// candidates is how many members a set of a kind can have.
func (x *indexCall) candidates(kind ir.SourceKind) int {
	switch kind {
	case ir.SourceRuns:
		return x.reach
	case ir.SourceBlocks:
		return blocksOf(x.columns)
	default:
		return x.columns
	}
}

func blocksOf(n int) int { return ceilDiv(n, ir.BlockSize) }

func ceilDiv(n, by int) int { return (n + by - 1) / by }

func roundUp(n, to int) int { return ceilDiv(n, to) * to }

// The sizes of buffers, in elements.
func (x *indexCall) keysPad() int         { return roundUp(x.SeqK, ir.BlockSize) }
func (x *indexCall) distPad() int         { return roundUp(x.reach, ir.BlockSize) + 2*ir.BlockSize }
func (x *indexCall) coverWords() int      { return (x.distPad() + ir.BlockSize + 31) / 32 }
func (x *indexCall) rowBlocks() int       { return blocksOf(x.SeqQ) }
func (x *indexCall) keyBlocks() int       { return blocksOf(x.SeqK) }
func (x *indexCall) numberWords() int     { return x.budgetRows*x.QHeads + x.heads }
func (n choiceCall) colCap() int          { return roundUp(n.most, listPad) + listPad }
func (n choiceCall) blockCap() int        { return max(1, n.most) }
func (n choiceCall) runCap(reach int) int { return max(1, min(n.most, reach/ir.BlockSize+2)) }
func (n choiceCall) list(f string) string { return listName(n.source.Name, f) }
func pooledName(p ir.Pool) string         { return fmt.Sprintf("pooled %d %d", p.Of, p.With) }
func bitsName(n choiceCall) string        { return "bits " + n.source.Name }

// at is the address of a buffer. What the index stage alone uses may lie elsewhere, where others use it before and after.
func (x *indexCall) at(name string) uint64 {
	offset := x.buffers[name].offset
	if offset >= x.kept && x.passing != 0 {
		return uint64(x.passing) + uint64(offset-x.kept)
	}
	return uint64(x.Workspace) + uint64(offset)
}
func (x *indexCall) size(name string) int64 { return x.buffers[name].bytes }

// scoreRows is how many rows of scores a row block has, at most, and how many values each of them.
func (p *indexPlan) scoreRows() (rows, values int) {
	rows, values = 1, 1
	for _, c := range p.choices {
		if c.fold > 0 {
			rows, values = max(rows, ir.BlockSize/c.fold), 2
		}
	}
	return rows, values
}

// slabRows is how many row blocks are scored at a time.
func slabRows(bytes int64, heads, keyBlocks, rowBlocks int) int {
	row := product(heads, roundUp(keyBlocks, ir.BlockSize), 4)
	rows := int(max(1, bytes/max(row, 1)))
	if rows > scoreRows {
		rows -= rows % scoreRows
	}
	return min(rows, max(1, rowBlocks))
}

// add reserves a buffer of that many bytes, unless there is one of that name.
func (x *indexCall) add(name string, sizes ...int) {
	if _, there := x.buffers[name]; there {
		return
	}
	n := product(sizes...)
	x.buffers[name] = buffer{x.bytes, n}
	x.bytes += aligned(n)
}

// layOut is the table of buffers. Sizes are those of ir/index.go and of the kernels' own comments; H is heads.
func (x *indexCall) layOut() {
	x.layOutNumbers()
	x.add("queue", 4)
	x.layOutLists()
	x.add("nanos", x.heads, 4)
	x.kept = x.bytes
	x.layOutScores()
	x.layOutSums()
}

// layOutLists reserves what is listed of each choice.
func (x *indexCall) layOutLists() {
	h := x.heads
	for _, n := range x.choices {
		switch n.source.Kind {
		case ir.SourceBlocks:
			x.add(n.list("blocks"), h, x.rowBlocks(), n.blockCap(), 4)
			x.add(n.list("block_count"), h, x.rowBlocks(), 4)
		case ir.SourceRuns:
			x.add(bitsName(n), h, x.distPad()/32, 4)
			x.add(n.list("runs"), h, n.runCap(x.reach), 4)
			x.add(n.list("run_count"), h, 4)
			x.add(n.list("covered"), h, x.coverWords(), 4)
		default:
			x.add(bitsName(n), h, x.keysPad()/32, 4)
			x.add(n.list("cols"), h, n.colCap(), 4)
			x.add(n.list("col_count"), h, 4)
			x.add(n.list("kc"), h, n.colCap(), x.headDim, elementBytes)
			x.add(n.list("vc"), h, n.colCap(), x.headDim, elementBytes)
		}
	}
}

// layOutScores reserves what choices of blocks are made from.
func (x *indexCall) layOutScores() {
	h := x.heads
	for _, n := range x.choices {
		if n.source.Kind != ir.SourceBlocks {
			continue
		}
		if n.fold == 0 {
			x.add(pooledName(n.q), h, x.rowBlocks(), x.headDim, 4)
			x.add(pooledName(n.k), x.Batch*x.KVHeads, x.keyBlocks(), x.headDim, 4)
		} else {
			x.add("score_sums", h, x.slab, x.scoreRows, roundUp(x.keyBlocks(), ir.BlockSize), 4)
			x.add("shares", h, x.slab, roundUp(x.keyBlocks(), ir.BlockSize), 4)
		}
		x.add("scores", h, x.slab, x.scoreRows, roundUp(x.keyBlocks(), ir.BlockSize), 4) // of one part after the other
	}
}

// layOutNumbers reserves the budgets, [rows of them, QHeads], and the words of heads right behind them: what store_words
// writes at the start of a launch.
func (x *indexCall) layOutNumbers() {
	budgets, all := int64(4*x.budgetRows*x.QHeads), int64(4*roundUp(x.numberWords(), storeWordsCount))
	x.buffers["budgets"], x.buffers["route"] = buffer{0, budgets}, buffer{budgets, all - budgets}
	x.bytes = aligned(all)
}

// CheckSizes refuses what would overflow the numbers of a kernel.
func (x *indexCall) CheckSizes() error {
	if x.items() > math.MaxInt32 {
		return badCall("the call has %d row tiles in all heads, want at most %d; split larger calls", x.items(), math.MaxInt32)
	}
	for _, n := range x.choices {
		if n.source.Kind == ir.SourceColumns && product(x.heads, n.colCap()) > 1<<31-1 {
			return badCall("%d heads of %d chosen columns are too many for one call; split the batch or lower the budget", x.heads, n.most)
		}
	}
	return nil
}

// fillLists sets the values of the attention kernel's parameters for lists.
func (x *indexCall) fillLists() {
	x.lists, x.queue = map[string]uint64{}, x.at("queue")
	for _, n := range x.choices {
		for _, f := range listFields[n.source.Kind] {
			if f.Type == "ptr" {
				x.lists[n.list(f.Name)] = x.at(n.list(f.Name))
			}
		}
		switch n.source.Kind {
		case ir.SourceRuns:
			x.lists[n.list("run_cap")], x.lists[n.list("cover_words")] = uint64(n.runCap(x.reach)), uint64(x.coverWords())
		case ir.SourceBlocks:
			x.lists[n.list("block_cap")] = uint64(n.blockCap())
		default:
			x.lists[n.list("col_cap")] = uint64(n.colCap())
		}
	}
}

// Workspace returns how many bytes of device memory a launch of a needs beside its tensors: 0 for patterns that do not
// depend on data, unless heads take no part. It grows with the lengths, the heads and the budgets, so that the workspace of the largest call serves
// all smaller ones.
func (k *LoadedKernel) Workspace(a Attention) (int64, error) {
	x, err := k.planShape(a)
	if err != nil || x == nil {
		return 0, err
	}
	return x.bytes, nil
}

// planShape plans the workspace of a, of which only the shape, the parameters and the heads count; nil if there is none.
func (k *LoadedKernel) planShape(a Attention) (*indexCall, error) {
	c, err := k.checkShape(a)
	if err != nil || c.idle() || !k.needsWorkspace(c) {
		return nil, err
	}
	if x, _, ok := k.recalled(c); ok {
		return x, nil
	}
	return k.planCall(c)
}

// ListBytes returns how many bytes of the workspace of a hold what the attention kernel reads of the choice: lists, their
// lengths and bitmaps, without the copies of K and V at chosen columns.
func (k *LoadedKernel) ListBytes(a Attention) (int64, error) {
	x, err := k.planShape(a)
	if err != nil || x == nil {
		return 0, err
	}
	sum := int64(0)
	for _, n := range x.choices {
		for _, f := range listFields[n.source.Kind] {
			if f.Name != "kc" && f.Name != "vc" && f.Type == "ptr" {
				sum += x.size(n.list(f.Name))
			}
		}
	}
	return sum, nil
}

// checkWorkspace says whether a call brings the memory that it needs.
func (c *call) checkWorkspace(bytes int64) error {
	switch a := c.Attention; {
	case bytes == 0:
		return nil
	case a.Workspace == 0:
		return badCall("Workspace is a null pointer, want %d bytes of device memory, see the method Workspace", bytes)
	case a.Workspace%workspaceAlign != 0:
		return badCall("Workspace starts at %#x, want an address that is a multiple of %d bytes", uint64(a.Workspace), workspaceAlign)
	case a.WorkspaceBytes < bytes:
		return badCall("Workspace has %d bytes, want %d, see the method Workspace", a.WorkspaceBytes, bytes)
	}
	return c.checkWorkspaceApart(c.Workspace, bytes)
}
