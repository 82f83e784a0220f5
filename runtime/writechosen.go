package runtime

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// WriteChosen is the other way round of ReadChosen: it fills the workspace with the lists of what chosen says, [Batch * QHeads] selections
// that have a set for every choice of their head's pattern, as EvalIndex returns them. K and V of chosen columns are copied by the kernel
// that RunIndex uses, and heads for which dense attention is faster become dense as they do there. Selections of heads that take no part, or
// whose pattern does not depend on data, are not looked at. RunAttention on the same stream then computes attention over these lists, which is
// how to measure, or to reuse, a choice without the index stage. No head may choose more than its budget.
func (p *Prepared) WriteChosen(s device.Stream, at Pointers, chosen []*ir.Selection) error {
	if err := p.Check(at); err != nil || p.idle() {
		return err
	}
	for _, part := range p.parts {
		if !part.readies {
			continue
		}
		if heads := p.call.Batch * p.call.QHeads; len(chosen) != heads && len(part.bound.choices) > 0 {
			return device.BadCall("there are %d selections, want one for each of %d heads", len(chosen), heads)
		}
		if err := part.writeChosen(p.dev, s, at, chosen); err != nil {
			return part.wrap(err)
		}
	}
	return nil
}

func (p *preparedPart) writeChosen(dev device.Device, s device.Stream, at Pointers, chosen []*ir.Selection) error {
	w := &chosenWriter{boundCall: p.bound, dev: dev, stream: s, workspace: at.Workspace, chosen: p.gather(chosen)}
	for _, n := range p.bound.choices {
		if err := w.write(n); err != nil {
			return fmt.Errorf("index %q: %w", n.source.Name, err)
		}
	}
	return w.launchRest(p.pattern, at)
}

// gather is the way back of spread: what the heads of the part chose, of what all heads of the layer did.
func (p *preparedPart) gather(chosen []*ir.Selection) []*ir.Selection {
	if p.heads == nil || len(p.bound.choices) == 0 {
		return chosen
	}
	x, layer := p.bound, len(chosen)/p.bound.Batch
	out := make([]*ir.Selection, x.heads())
	for batch := range x.Batch {
		for _, h := range p.heads {
			out[batch*x.QHeads+h-x.head0] = chosen[batch*layer+h]
		}
	}
	return out
}

// launchRest runs what does not depend on how a choice was made.
func (w *chosenWriter) launchRest(k *Pattern, at Pointers) error {
	var parts []string
	if w.shared() {
		parts = append(parts, ir.PartNumbers)
	}
	parts = append(parts, ir.PartGather)
	if w.routing == byHead {
		parts = append(parts, ir.PartDecide)
	}
	actions, err := w.actions(parts...)
	if err != nil {
		return wrapInternal(err)
	}
	r := &recorder{dev: w.dev}
	if err := r.add(k.codes, w.boundCall, actions); err != nil {
		return err
	}
	return r.finish().run(w.stream, at.bases(), 0, len(r.records))
}

// chosenWriter copies lists to the device.
type chosenWriter struct {
	*boundCall
	dev       device.Device
	stream    device.Stream
	workspace device.Ptr
	chosen    []*ir.Selection
}

func (w *chosenWriter) write(n choiceCall) error {
	sets, err := w.sets(n)
	if err != nil {
		return err
	}
	switch n.source.Kind {
	case ir.SourceRuns:
		return w.writeRuns(n, sets)
	case ir.SourceBlocks:
		return w.writeBlocks(n, sets)
	default:
		return w.writeColumns(n, sets)
	}
}

// sets are the choices of each list, checked: the kernels trust the lists. Heads that choose together must have chosen the same.
func (w *chosenWriter) sets(n choiceCall) ([]*ir.Selected, error) {
	want, _ := n.source.Chosen()
	out := make([]*ir.Selected, w.listHeads(n))
	for i := range out {
		out[i] = &ir.Selected{Blocks: make([][]int, w.rowBlocks())}
	}
	for h, sel := range w.chosen {
		if !w.takesPart(h) {
			continue
		}
		set, err := sel.Find(n.source.Name)
		switch {
		case err != nil:
			return nil, device.BadCall("head %d: %w", h, err)
		case set.Kind != want.Kind:
			return nil, device.BadCall("head %d has %s, want %s", h, set.Kind, want.Kind)
		}
		if err := w.checkSet(n, set); err != nil {
			return nil, device.BadCall("head %d: %w", h, err)
		}
		at := w.listOf(n, h)
		if first := out[at]; first.Name != "" && !sameMembers(first, set) {
			return nil, device.BadCall("head %d has other %s than heads of its kv head before it, which choose %s together, by group; give them one choice",
				h, set.Kind, set.Name)
		}
		out[at] = set
	}
	return out, nil
}

func sameMembers(a, b *ir.Selected) bool {
	return slices.Equal(a.Members, b.Members) && slices.EqualFunc(a.Blocks, b.Blocks, slices.Equal[[]int])
}

func (w *chosenWriter) checkSet(n choiceCall, set *ir.Selected) error {
	if n.source.Kind != ir.SourceBlocks {
		return w.checkFlat(n, set.Members)
	}
	if len(set.Blocks) != w.rowBlocks() {
		return fmt.Errorf("found blocks of %d row blocks, want %d", len(set.Blocks), w.rowBlocks())
	}
	for t, blocks := range set.Blocks {
		up := slices.Clone(blocks)
		slices.Reverse(up)
		if err := checkMembers(up, w.capacity(n, "block_cap"), blocksOf(w.columns())); err != nil {
			return fmt.Errorf("row block %d, read from the end: %w", t, err)
		}
	}
	return nil
}

// checkFlat checks columns or distances. The list of tiles has room for whole runs, so that distances of runs are checked as runs; the last
// one ends where there are no more distances.
func (w *chosenWriter) checkFlat(n choiceCall, members []int) error {
	if n.run == 1 || len(members) == 0 {
		return checkMembers(members, n.most, w.candidates(n.choice))
	}
	if err := checkMembers(members, len(members), w.reach()); err != nil {
		return err
	}
	runs, whole := ir.RunsOf(members, n.run, members[len(members)-1]+1)
	switch {
	case !whole:
		return fmt.Errorf("the %d distances are not whole runs of %d; give all distances of a run, or none", len(members), n.run)
	case len(runs) > n.most:
		return fmt.Errorf("found %d runs of %d distances, the budget allows %d", len(runs), n.run, n.most)
	}
	return nil
}

// checkMembers checks ascending members of [0, end), most of them at most.
func checkMembers(members []int, most, end int) error {
	if len(members) > most {
		return fmt.Errorf("found %d members, the budget allows %d", len(members), most)
	}
	for i, m := range members {
		if m < 0 || m >= end || i > 0 && m <= members[i-1] {
			return fmt.Errorf("member %d is %d, want ascending ones from 0 to %d", i, m, end-1)
		}
	}
	return nil
}

// words writes a whole buffer of 32-bit numbers.
func (w *chosenWriter) words(name string, words []uint32) error {
	data, err := binary.Append(make([]byte, 0, 4*len(words)), binary.LittleEndian, words)
	if err != nil || len(data) == 0 {
		return err
	}
	if int64(len(data)) > w.Extent(name).Bytes {
		return fmt.Errorf("internal: %d bytes for the %d of %s", len(data), w.Extent(name).Bytes, name)
	}
	return w.dev.CopyToDevice(w.workspace+device.Ptr(w.at(name)), data, w.stream)
}

// rows writes a buffer of lists of limit entries each, filled up with pad, and the one of their lengths.
func (w *chosenWriter) rows(list, count string, limit int, pad uint32, rows [][]int) error {
	all, counts := make([]uint32, limit*len(rows)), make([]uint32, len(rows))
	for i, row := range rows {
		to := all[i*limit:][:limit]
		for j := range to {
			to[j] = pad
		}
		for j, x := range row {
			to[j] = uint32(int32(x))
		}
		counts[i] = uint32(len(row))
	}
	if err := w.words(list, all); err != nil {
		return err
	}
	return w.words(count, counts)
}

func (w *chosenWriter) writeRuns(n choiceCall, sets []*ir.Selected) error {
	heads := w.listHeads(n)
	bits, covered := newBitmaps(heads, w.wordsOf(n, "bits")), newBitmaps(heads, w.wordsOf(n, "covered"))
	runs := make([][]int, heads)
	for h, set := range sets {
		for _, d := range set.Members {
			bits.set(h, d)
		}
		for _, far := range ir.CoverTiles(set.Members) {
			runs[h] = append(runs[h], -far)
			for delta := far; delta < far+ir.BlockSize; delta++ {
				covered.set(h, delta)
			}
		}
	}
	if err := w.words(n.list("bits"), bits.words); err != nil {
		return err
	}
	if err := w.words(n.list("covered"), covered.words); err != nil {
		return err
	}
	return w.rows(n.list("runs"), n.list("run_count"), w.capacity(n, "run_cap"), 0, runs)
}

func (w *chosenWriter) writeBlocks(n choiceCall, sets []*ir.Selected) error {
	var rows [][]int
	for _, set := range sets {
		rows = append(rows, set.Blocks...)
	}
	return w.rows(n.list("blocks"), n.list("block_count"), w.capacity(n, "block_cap"), 1<<32-1, rows)
}

func (w *chosenWriter) writeColumns(n choiceCall, sets []*ir.Selected) error {
	heads := w.listHeads(n)
	bits, rows := newBitmaps(heads, w.wordsOf(n, "bits")), make([][]int, heads)
	for h, set := range sets {
		rows[h] = set.Members
		for _, k := range set.Members {
			bits.set(h, k)
		}
	}
	if err := w.words(n.list("bits"), bits.words); err != nil {
		return err
	}
	return w.rows(n.list("cols"), n.list("col_count"), w.capacity(n, "col_cap"), 1<<31-1, rows)
}

// wordsOf is how many words of a bitmap a head has.
func (x *boundCall) wordsOf(n choiceCall, field string) int {
	return int(x.Extent(n.list(field)).Bytes/4) / x.listHeads(n)
}

// bitmaps has the bitmaps of all heads, one after the other.
type bitmaps struct {
	each  int // words of a head
	words []uint32
}

func newBitmaps(heads, each int) bitmaps { return bitmaps{each, make([]uint32, heads*each)} }

// set sets a bit of a head, if there is one.
func (b bitmaps) set(head, bit int) {
	if bit < 32*b.each {
		b.words[head*b.each+bit/32] |= 1 << (bit % 32)
	}
}
