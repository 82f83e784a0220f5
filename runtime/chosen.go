package runtime

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// Chosen is what the index stage of a launch chose for one head, as it stands in the device's own lists.
type Chosen struct {
	// Asked are the chosen columns, distances and blocks.
	Asked *ir.Selection
	// Kept is the same with the chosen distances replaced by the tiles that cover them, each by the farthest distance it is
	// named after (L in package ir): the cover of these is the tiles themselves.
	Kept *ir.Selection
	// Dense says that the head ran without sparsity. Its cover is all that the pattern could keep, whatever was chosen; where
	// that was known before anything was launched, nothing was, and the selections have no sets.
	Dense bool
	// SparseMS and DenseMS are the predicted times of the head with the device to itself, which decided about Dense; both are
	// 0 where nothing was weighed. Where nothing was chosen, SparseMS is the least that it could have been, the head's part of
	// the index stage included.
	SparseMS, DenseMS float64
}

// ReadChosen waits for the stream and reads what the last run with these pointers chose, [Batch * QHeads]; nil if no data decides. The
// workspace must not have served another run since. Choices of heads that take no part, or whose pattern does not depend on data, have no
// sets.
func (p *Prepared) ReadChosen(s device.Stream, at Pointers) (out []Chosen, err error) {
	if err := p.Check(at); err != nil || p.idle() {
		return nil, err
	}
	for _, part := range p.parts {
		if part.bound == nil || len(part.pattern.choices) == 0 {
			continue
		}
		chosen, err := part.readChosen(p.dev, s, at.Workspace)
		if err != nil {
			return nil, part.wrap(err)
		}
		if out == nil {
			out = nothingChosen(p.call.Batch*p.call.QHeads, p.call.QOffset)
		}
		spread(part, chosen, out)
	}
	return out, nil
}

// spread puts what was found of the heads that a part spans among what was found of all heads of the layer.
func spread[T any](p *preparedPart, own, out []T) {
	x := p.bound
	if p.heads == nil {
		copy(out, own)
		return
	}
	layer := len(out) / x.Batch
	for batch := range x.Batch {
		for _, h := range p.heads {
			out[batch*layer+h] = own[batch*x.QHeads+h-x.head0]
		}
	}
}

func (p *preparedPart) readChosen(dev device.Device, s device.Stream, workspace device.Ptr) (_ []Chosen, err error) {
	x, multiprocessors := p.bound, p.pattern.multiprocessors()
	r := &chosenReader{boundCall: x, workspace: workspace, dev: dev, stream: s, out: nothingChosen(x.heads(), x.QOffset)}
	if x.routing == allDense {
		r.allDense(multiprocessors)
		return r.out, nil
	}
	for _, n := range x.choices {
		if err := r.read(n); err != nil {
			return nil, fmt.Errorf("index %q: %w", n.source.Name, err)
		}
	}
	if x.routing == byHead {
		err = r.readRoutes(multiprocessors)
	}
	return r.out, err
}

// multiprocessors is how many the times that decide are divided by.
func (k *Pattern) multiprocessors() int {
	if k.fallback == nil {
		return 1
	}
	return k.fallback.machine.Multiprocessors
}

// nothingChosen are choices without sets.
func nothingChosen(heads, qOffset int) []Chosen {
	out := make([]Chosen, heads)
	for h := range out {
		out[h] = Chosen{Asked: &ir.Selection{QOffset: qOffset}, Kept: &ir.Selection{QOffset: qOffset}}
	}
	return out
}

// allDense is the outcome where nothing was chosen.
func (r *chosenReader) allDense(multiprocessors int) {
	v := r.verdict
	least := v.low*millis(multiprocessors) + v.index
	for _, h := range r.taking() {
		r.out[h].Dense, r.out[h].SparseMS, r.out[h].DenseMS = true, least/float64(r.inEntry()), v.dense*millis(multiprocessors)
	}
}

// readRoutes reads what decide wrote.
func (r *chosenReader) readRoutes(multiprocessors int) error {
	at, err := r.wordsAt()
	if err != nil {
		return err
	}
	heads := r.taking()
	routes, err := r.perList(at, 1, heads)
	if err != nil {
		return err
	}
	nanos, err := r.perList(r.at("nanos"), 1, heads)
	if err != nil {
		return err
	}
	for i, h := range heads {
		r.out[h].Dense = routes[i] == ir.RouteDense
		r.out[h].SparseMS = float64(math.Float32frombits(uint32(nanos[i]))) * millis(multiprocessors)
		r.out[h].DenseMS = r.dense * millis(multiprocessors)
	}
	return nil
}

// millis turns nanoseconds of one multiprocessor into milliseconds of the device.
func millis(multiprocessors int) float64 { return 1e-6 / float64(multiprocessors) }

// chosenReader copies lists back.
type chosenReader struct {
	*boundCall
	workspace device.Ptr
	dev       device.Device
	stream    device.Stream
	out       []Chosen
}

func (r *chosenReader) read(n choiceCall) error {
	switch n.source.Kind {
	case ir.SourceRuns:
		return r.readRuns(n)
	case ir.SourceBlocks:
		return r.readBlocks(n)
	default:
		return r.readColumns(n)
	}
}

// words reads n 32-bit numbers from a place of the workspace on.
func (r *chosenReader) words(at int64, n int) ([]int32, error) {
	data := make([]byte, 4*n)
	if n > 0 {
		if err := r.dev.CopyToHost(data, r.workspace+device.Ptr(at), r.stream); err != nil {
			return nil, err
		}
	}
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out, nil
}

// taking lists the heads that take part. Nothing was written for the others, and nothing is read.
func (r *chosenReader) taking() (heads []int) {
	for h := range r.heads() {
		if r.takesPart(h) {
			heads = append(heads, h)
		}
	}
	return heads
}

// written are the lists of a choice that some head which takes part has, ascending.
func (r *chosenReader) written(n choiceCall) (lists []int) {
	for _, h := range r.taking() {
		lists = append(lists, r.listOf(n, h))
	}
	return slices.Compact(lists)
}

// eachHead calls f for every head that takes part, with the place of its list among the written ones.
func (r *chosenReader) eachHead(n choiceCall, f func(head, list int)) {
	lists := r.written(n)
	for _, h := range r.taking() {
		i, _ := slices.BinarySearch(lists, r.listOf(n, h))
		f(h, i)
	}
}

// perList reads the n numbers that each of some heads, or lists, has from a place on. Neighbours among them are read in one copy.
func (r *chosenReader) perList(at int64, n int, heads []int) (out []int32, err error) {
	for i := 0; i < len(heads); {
		end := i + 1
		for end < len(heads) && heads[end] == heads[end-1]+1 {
			end++
		}
		words, err := r.words(at+4*int64(heads[i]*n), (end-i)*n)
		if err != nil {
			return nil, err
		}
		out, i = append(out, words...), end
	}
	return out, nil
}

// lists reads a buffer of lists, of limit entries at most, and the one of their lengths: as many lists a head as there are
// lengths. The device writes nothing behind the end of some lists; padded ones are read together, because there may be
// very many.
func (r *chosenReader) lists(of choiceCall, list, count string, limit int, padded bool) ([][]int32, error) {
	list, count = of.list(list), of.list(count)
	heads, each := r.written(of), int(r.Extent(count).Bytes/4)/r.listHeads(of)
	counts, err := r.perList(r.at(count), each, heads)
	if err != nil {
		return nil, err
	}
	var all []int32
	if padded {
		if all, err = r.perList(r.at(list), limit*each, heads); err != nil {
			return nil, err
		}
	}
	out := make([][]int32, len(counts))
	for i, n := range counts {
		switch {
		case n < 0 || int(n) > limit:
			return nil, fmt.Errorf("internal: list %d of %s has %d entries, there is room for %d", i, list, n, limit)
		case padded:
			out[i] = all[i*limit:][:n]
		default:
			if out[i], err = r.words(r.at(list)+4*int64((heads[i/each]*each+i%each)*limit), int(n)); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// capacity is how many entries a list of the choice has room for.
func (x *boundCall) capacity(n choiceCall, field string) int { return int(x.Number(n.list(field))) }

func (r *chosenReader) add(head int, n choiceCall, asked, kept ir.Selected) {
	set, _ := n.source.Chosen()
	asked.Name, asked.Kind, kept.Name, kept.Kind = set.Name, set.Kind, set.Name, set.Kind
	r.out[head].Asked.Sets = append(r.out[head].Asked.Sets, asked)
	r.out[head].Kept.Sets = append(r.out[head].Kept.Sets, kept)
}

func (r *chosenReader) readColumns(n choiceCall) error {
	lists, err := r.lists(n, "cols", "col_count", r.capacity(n, "col_cap"), true)
	if err != nil {
		return err
	}
	r.eachHead(n, func(h, i int) {
		s := ir.Selected{Members: integers(lists[i])}
		r.add(h, n, s, s)
	})
	return nil
}

func (r *chosenReader) readRuns(n choiceCall) error {
	lists, err := r.lists(n, "runs", "run_count", r.capacity(n, "run_cap"), false)
	if err != nil {
		return err
	}
	words := r.wordsOf(n, "bits")
	bits, err := r.perList(r.at(n.list("bits")), words, r.written(n))
	if err != nil {
		return err
	}
	r.eachHead(n, func(h, i int) {
		tiles := integers(lists[i])
		for j := range tiles {
			tiles[j] = -tiles[j]
		}
		r.add(h, n, ir.Selected{Members: setBits(bits[i*words:][:words])}, ir.Selected{Members: tiles})
	})
	return nil
}

func (r *chosenReader) readBlocks(n choiceCall) error {
	lists, err := r.lists(n, "blocks", "block_count", r.capacity(n, "block_cap"), true)
	if err != nil {
		return err
	}
	r.eachHead(n, func(h, i int) {
		var s ir.Selected
		for _, list := range lists[i*r.rowBlocks():][:r.rowBlocks()] {
			s.Blocks = append(s.Blocks, integers(list))
		}
		r.add(h, n, s, s)
	})
	return nil
}

func integers(list []int32) []int {
	out := make([]int, len(list))
	for i, x := range list {
		out[i] = int(x)
	}
	return out
}

// setBits lists the bits that are set, ascending.
func setBits(words []int32) []int {
	var out []int
	for i, w := range words {
		for b := range 32 {
			if w>>b&1 == 1 {
				out = append(out, 32*i+b)
			}
		}
	}
	return out
}
