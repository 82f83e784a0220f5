package sm90

import (
	"slices"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// Flags of a header beside the flags of its first slot.
const (
	flagEnd     = 4  // no stage: there are no more
	flagFirst   = 8  // the first stage of a row tile
	flagStagger = 16 // the second warpgroup's keys start at slot 1; there are three slots, not two
	flagWhole   = 32 // all slots follow each other in K and V: one copy a panel
	// Of tiles that are computed again: in the first stage, the second warpgroup's outputs are wanted, else the first's; in a later one, it
	// is the tile's last stage, without keys.
	flagSecond = 64
)

// headerAt is the shared address of the header of the stage whose K is at a buffer.
func (k *kernel) headerAt(buffer Value) Value {
	return k.Add(k.shared, k.Add(k.MulBy(buffer, k.layout.header.bytes), lower.I32(int64(k.layout.headers))))
}

// cursor is where the next stage goes; first are flags of the stage itself: flagFirst until the row tile has one.
type cursor struct {
	pipelineSlot
	first Value
}

func (c *cursor) Values() []*Value { return append(c.pipelineSlot.Values(), &c.first) }

// cursorWalk is a loop that loads stages: at what it walks beside where the next stage goes.
type cursorWalk = lower.Walk[cursor, *cursor]

// feed is what row tiles hand on to the next one: where its first stage goes, and the parity of Q.
type feed struct {
	pipelineSlot
	q Value
}

func (f *feed) Values() []*Value { return append(f.pipelineSlot.Values(), &f.q) }

type feedWalk = lower.Walk[feed, *feed]

// produceTiles is the work of the warp that walks the schedule, all lanes alike except in copies and in reading lists.
func (k *kernel) produceTiles() {
	p := pipelineSlot{lower.I32(0), lower.I32(1)}
	if k.queued {
		first := k.ICmp(enum.IPredEQ, k.pass, lower.I32(0))
		end := lower.Choose(k.Builder, "queue", first, p, func() pipelineSlot { return k.produceQueued(p) })
		end = lower.Choose(k.Builder, "chains", k.Xor(first, lower.Bool(true)), end, func() pipelineSlot { return k.produceChains(p) })
		k.postEnd(end)
		return
	}
	heads := k.entries(k.lengths())
	k.In(k.At.Loading(k.KVHead()), func() {
		p = k.produceItem(feed{p, lower.I32(1)}, lower.I32(flagFirst), heads, func() {})
		again := k.ICmp(enum.IPredNE, k.pass, lower.I32(0))
		p = k.stageIf("close", again, cursor{p, lower.I32(flagSecond)}, k.noSlots())
	})
	k.postEnd(p)
}

// postEnd says that there are no more stages. Where consumers have issued the first product of a stage before they look at its flags,
// it has keys as well: zeros.
func (k *kernel) postEnd(p pipelineSlot) {
	if !k.overlap {
		zero := lower.I32(0)
		k.inTile(tileID{zero, zero, zero}, func() {
			k.In(k.At.Loading(zero), func() { k.stage(cursor{p, lower.I32(flagEnd)}, k.noSlots()) })
		})
		return
	}
	k.await(k.barrierAt(emptyK, p.buffer), p.parity)
	k.elected(func() {
		k.Store(lower.I32(flagEnd), k.SharedAt(k.headerAt(p.buffer), 4), 4)
		k.arrive(k.barrierAt(posted, p.buffer))
		k.arrive(k.barrierAt(fullK, p.buffer))
	})
}

// produceQueued takes row tiles while there are any: the block's own number first, then what the queue says. What the lists of a
// tile begin with is read while the tile before is walked, in two steps that depend on each other: lengths, then entries.
func (k *kernel) produceQueued(p pipelineSlot) pipelineSlot {
	first := k.block()
	start := queuedItem{number: first, feed: feed{p, lower.I32(1)}, tileID: k.workTile(k.firstItem(first))}
	k.inTile(start.tileID, func() { start.heads = k.entries(k.lengths()) })
	start.next = k.taken(k.take())
	return lower.While(k.Builder, "item", start,
		func(is queuedItem) Value { return k.ICmp(enum.IPredSLT, is.number, k.Param("items")) },
		func(is queuedItem) queuedItem {
			next := queuedItem{number: is.next}
			afterNext := k.take()
			// Beyond the last tile, that tile is read again; nobody uses it.
			next.tileID = k.workTile(k.lastOr(is.next))
			k.inTile(next.tileID, func() { next.heads = k.lengths() })
			k.inTile(is.tileID, func() {
				next.feed, next.heads = k.produceOwn(is.feed, is.heads, func() (ahead listHeads) {
					k.inTile(next.tileID, func() { ahead = k.entries(next.heads) })
					return ahead
				})
			})
			next.next = k.taken(afterNext)
			return next
		}).pipelineSlot
}

// queuedItem is what the loop of produceQueued carries: a row tile's number and the number of the one after it, which row tile it is, and
// what its lists begin with.
type queuedItem struct {
	number, next Value
	feed
	tileID
	heads listHeads
}

func (q *queuedItem) Values() []*Value {
	return slices.Concat([]*Value{&q.number, &q.next}, q.feed.Values(), q.tileID.Values(), q.heads.Values())
}

func (q queuedItem) Clone() queuedItem {
	q.heads = q.heads.Clone()
	return q
}

// take asks the queue for a row tile that no other block takes; taken, later, says which that is.
func (k *kernel) take() Value {
	return k.Choose("take", k.ICmp(enum.IPredEQ, k.Lane, lower.I32(0)), lower.I32(0), func() Value {
		return k.AsmResult(types.I32, "atom.global.add.u32 $0, [$1], 1;", "=r,l", k.Param("queue"))
	})
}

func (k *kernel) taken(v Value) Value { return k.Add(k.ShuffleFrom(v, lower.I32(0)), k.queueBlocks()) }

// lastOr is a row tile's number, or the last one's beyond it.
func (k *kernel) lastOr(item Value) Value { return k.Min(item, k.Sub(k.Param("items"), lower.I32(1))) }

// firstItem is a row tile that is there, for a block whose own number may not be one: only in a group are there such blocks.
func (k *kernel) firstItem(first Value) Value {
	if !k.grouped {
		return first
	}
	return k.lastOr(first)
}

// block is the block's number among the blocks that the queue knows, queueBlocks is how many these are: in a group the blocks of the
// section's rows, where each half of a block of two tiles is one.
func (k *kernel) block() Value {
	if !k.grouped {
		return k.BlockX()
	}
	return k.ofHalf(k.sectionBlock())
}

func (k *kernel) queueBlocks() Value {
	if !k.grouped {
		return k.GridX()
	}
	return k.Param("blocks")
}

// produceOwn produces the row tile, unless its head is another kernel's: consumers of this kernel do not hear of such a tile. In the midst
// of it, it calls ahead to read what comes after.
func (k *kernel) produceOwn(f feed, heads listHeads, ahead func() listHeads) (feed, listHeads) {
	own := k.WhenPresent(k.Computes(k.HeadIndex()))
	out := lower.Choose(k.Builder, "own", own, fedTile{f, heads.unread()}, func() (made fedTile) {
		k.In(k.At.Loading(k.KVHead()), func() {
			made.pipelineSlot = k.produceItem(f, lower.I32(flagFirst), heads, func() { made.ahead = ahead() })
		})
		made.q = k.Xor(f.q, lower.I32(1))
		return made
	})
	return out.feed, lower.Choose(k.Builder, "other", k.Xor(own, lower.Bool(true)), out.ahead, ahead)
}

// fedTile is what a row tile leaves: its feed, and what the lists of the tile after it begin with.
type fedTile struct {
	feed
	ahead listHeads
}

func (t *fedTile) Values() []*Value { return append(t.feed.Values(), t.ahead.Values()...) }

func (t fedTile) Clone() fedTile { return fedTile{t.feed, t.ahead.Clone()} }

// tileID says in registers which row tile it is.
type tileID struct{ tile, head, batch Value }

func (t *tileID) Values() []*Value { return lower.Some(&t.tile, &t.head, &t.batch) }

// workTile is row tile number item of the launch: one head after the other, so that the K and V of few are in use at a time.
func (k *kernel) workTile(item Value) tileID {
	tiles, heads := k.Param("row_tiles"), k.Param("q_heads")
	row := k.UDiv(item, tiles)
	batch := k.UDiv(row, heads)
	tile, head := k.Sub(item, k.Mul(row, tiles)), k.Sub(row, k.Mul(batch, heads))
	return tileID{tile, head, batch}
}

// fixed is a row tile whose numbers are in registers.
func (k *kernel) fixed(t tileID) lower.WorkTile {
	return lower.WorkTile{Tile: lower.Is(t.tile), Head: lower.Is(t.head), Batch: lower.Is(t.batch),
		Tiles: lower.Is(k.Param("row_tiles")), Heads: lower.Is(k.Param("q_heads")), Head0: k.At.Head0}
}

// inTile emits body for a row tile that a queue gave; without a queue the block has one tile, and t says nothing.
func (k *kernel) inTile(t tileID, body func()) {
	tile := k.At
	if k.queued {
		tile = k.fixed(t)
	}
	k.In(tile, body)
}

// produceItem loads Q and all stages of a row tile; one that keeps nothing has a stage without keys. first are flags of the first
// stage. Once the first ones are under way, it calls ahead.
func (k *kernel) produceItem(f feed, first Value, heads listHeads, ahead func()) pipelineSlot {
	k.await(k.emptyQ(), f.q)
	k.elected(func() {
		at := k.fullQ()
		k.expect(at, k.layout.k)
		to := copyOf{slots: 1, offset: k.layout.q, panel: k.qPanel, base: lower.I32(0), barrier: at}
		row := k.Row0()
		k.load(to, k.TileRows("q", k.TensorHead()), row)
	})
	c := cursor{f.pipelineSlot, first}
	switch {
	case k.stagger:
		return k.produceStaggered(c, k.sources(heads), ahead)
	case k.HasLists():
		w := k.walkSources(c, k.sources(heads))
		ahead()
		return k.lastSlot(w)
	}
	for i, s := range k.Segs {
		c = k.produceRange(c, i, s)
	}
	ahead()
	return k.stageIf("nothing", k.ICmp(enum.IPredNE, c.first, lower.I32(0)), c, []slot{emptySlot})
}

// emptySlot has no keys: copies from there write zeros.
var emptySlot = slot{start: lower.I32(lower.FarBelow), flags: lower.I32(lower.FlagEdge)}

// noSlots are the slots of a stage without keys.
func (k *kernel) noSlots() []slot { return []slot{emptySlot, emptySlot}[:k.keys/k.SlotKeys] }

// stageIf loads one more stage if some holds.
func (k *kernel) stageIf(name string, some Value, c cursor, slots []slot) pipelineSlot {
	return lower.Choose(k.Builder, name, some, c.pipelineSlot, func() pipelineSlot { return k.stage(c, slots).pipelineSlot })
}

// produceRange walks the pieces of a segment without lists, a stage a tile, and hops over tiles without a residue where the
// segment says so (ir.Segment.Hop).
func (k *kernel) produceRange(c cursor, number int, s lower.Segment) cursor {
	for _, x := range k.Cut(s) {
		c = lower.While(k.Builder, "piece", lower.Walking(x.Top, c),
			func(end cursorWalk) Value { return k.ICmp(enum.IPredSGT, end.At, x.Bottom) },
			func(end cursorWalk) cursorWalk {
				return k.tileOrHop(s, end, lower.I32(x.Flags|int64(number)<<lower.SegmentShift))
			}).Of
	}
	return c
}

// tileOrHop loads the tile that ends at end, or moves the end down to one that holds a residue.
func (k *kernel) tileOrHop(s lower.Segment, end cursorWalk, flags Value) cursorWalk {
	load := func() cursorWalk {
		start := k.Sub(end.At, lower.I32(int64(k.SlotKeys)))
		return lower.Walking(start, k.stage(end.Of, []slot{{start: start, flags: flags}}))
	}
	if s.Hop < 0 {
		return load()
	}
	hopped := k.Hopped(s.Tests[s.Hop], end.At)
	return lower.Choose(k.Builder, "tile", k.ICmp(enum.IPredEQ, hopped, end.At), lower.Walking(hopped, end.Of), load)
}

// slot is one slot of a stage as the producer sees it.
type slot struct {
	start, flags Value
	from         origin
}

func (s *slot) Values() []*Value { return []*Value{&s.start, &s.flags} }

// origin is the tensor a slot comes from, as far as it is known before the kernel runs.
type origin int

const (
	either origin = iota // lower.FlagColumns tells
	keys
	copies // of chosen columns
)

// stage writes the header and loads K of one stage and returns where the next one goes.
func (k *kernel) stage(c cursor, slots []slot) cursor { return k.stageOf(c, slots, false) }

// wholeStage is stage for slots that follow each other upwards in K and V.
func (k *kernel) wholeStage(c cursor, slots []slot) cursor { return k.stageOf(c, slots, true) }

func (k *kernel) stageOf(c cursor, slots []slot, whole bool) cursor {
	k.await(k.barrierAt(emptyK, c.buffer), c.parity)
	k.elected(func() {
		first := c.first
		if whole {
			first = k.Or(first, lower.I32(flagWhole))
		}
		k.writeHeader(k.headerAt(c.buffer), first, slots)
		k.arrive(k.barrierAt(posted, c.buffer))
		k.loadTile("k", k.layout.k, fullK, c.buffer, slots, whole)
	})
	k.letVoteCatchUp(c.pipelineSlot)
	return cursor{k.nextPipelineSlot(k.pipelineSlotOfV(c.pipelineSlot)), lower.I32(0)}
}

// letVoteCatchUp waits, where tiles are computed again, until the stage at p is full. In a ring the warp that votes must have seen V's
// phase of a buffer before K is posted there again. Consumers see to that where they wait for the next K before they let go of V; with
// care they do not.
func (k *kernel) letVoteCatchUp(p pipelineSlot) {
	if !k.ring || !k.HasColumns() {
		return
	}
	k.If("again", k.ICmp(enum.IPredNE, k.pass, lower.I32(0)), func() {
		k.await(k.barrierAt(fullK, p.buffer), k.Xor(p.parity, lower.I32(1)))
	})
}

// writeHeader writes the walk's part of a header; first are flags of its own for the first slot.
func (k *kernel) writeHeader(header, first Value, slots []slot) {
	for i, s := range slots {
		flags := s.flags
		if i == 0 {
			flags = k.Or(flags, first)
		}
		k.Store(k.PackVector(s.start, flags), k.SharedAt(header, i*slotBytes), slotBytes)
	}
	for i := len(slots); i < k.slots(); i++ { // consumers read the flags of all
		k.Store(k.PackVector(emptySlot.start, lower.I32(0)), k.SharedAt(header, i*slotBytes), slotBytes)
	}
	if k.queued {
		item := k.Pack4(k.At.Tile(), k.At.Head(), k.At.Batch(), lower.I32(0))
		k.Store(item, k.SharedAt(header, k.layout.header.item), 16)
	}
}

// loadTile starts the copies of a stage's K or V.
func (k *kernel) loadTile(tensor string, offset int, full barrier, buffer Value, slots []slot, whole bool) {
	at := k.barrierAt(full, buffer)
	if k.GivenKeys() {
		k.expectSpans(at, slots)
	} else {
		k.expect(at, k.panels*len(slots)*k.SlotKeys*panelBytes)
	}
	to := copyOf{slots: 1, offset: offset, panel: k.kvPanel, base: k.MulBy(buffer, k.stageBytes), barrier: at}
	if whole {
		to.slots = len(slots)
		k.loadKeys(to, tensor, slots[0])
		return
	}
	for _, s := range slots {
		k.loadSlot(to, tensor, s)
		to.offset += k.SlotKeys * panelBytes
	}
}

// loadSlot starts the copies of one slot.
func (k *kernel) loadSlot(to copyOf, tensor string, s slot) {
	fromCopies := func() {
		list := k.ColumnSegment().From
		head := func() lower.Value { return k.ListHead(list) }
		k.load(to, k.RowsOf(ir.ListName(list.Name, tensor+"c"), head, lower.Is(lower.I32(0))), s.start)
	}
	switch {
	case s.from == keys || !k.HasCopies():
		k.loadKeys(to, tensor, s)
	case k.GivenKeys(): // the keys of other slots are copied one by one
		k.If("span", k.lacks(s.flags, lower.FlagColumns), func() { k.loadKeys(to, tensor, s) })
	case s.from == copies:
		fromCopies()
	default:
		k.IfElse("columns", k.has(s.flags, lower.FlagColumns), fromCopies, func() { k.loadKeys(to, tensor, s) })
	}
}

func (k *kernel) loadKeys(to copyOf, tensor string, s slot) {
	k.load(to, k.TileRows(tensor, k.KVHead()), s.start)
}

// copyOf is a copy: of how many slots, to which offset from which base in shared memory, with which distance of panels there, for
// which barrier.
type copyOf struct {
	slots, offset, panel int
	base, barrier        Value
}

// load copies the rows from one on, a box a panel. Boxes may lie outside the tensor in part or in all: zeros are written there, and they
// count.
func (k *kernel) load(c copyOf, rows lower.Rows, row Value) {
	box := rows.Box(row)
	m := k.Asm(types.I64, "cvta.param.u64 $0, $1;", "=l,l", k.Param(mapOf(rows.Tensor, c.slots)))
	for p := range k.panels {
		to := k.Add(k.Add(k.shared, c.base), lower.I32(int64(c.offset+p*c.panel)))
		k.AsmEffect("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1, {$2, $3, $4, $5}], [$6];",
			"r,l,r,r,r,r,r", to, m, lower.I32(int64(p*panelCols)), box.Row, box.Head, box.Batch, c.barrier)
	}
}

// isRange says whether a segment's keys are a range, without a list.
func isRange(s lower.Segment) bool { return s.From.Kind == ir.SourceRange }
