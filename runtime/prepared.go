package runtime

import (
	"fmt"
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// Prepared is a call that was checked and computed as far as it does not depend on its pointers: what Run enqueues, and where
// ReadChosen finds what was chosen. It is immutable and safe for concurrent use until its artifact is closed.
type Prepared struct {
	call      *call // of the whole layer
	dev       device.Device
	parts     []*preparedPart
	workspace int64 // bytes that a run needs
	kept      int64 // of them, from the start on, what attention reads
	most      int64 // the same if nothing ran dense: so that the workspace of a longer call serves this one
	records   *recording
	stages    []stageRecords // in the order in which they run
	launches  int            // of attention
}

// preparedPart is a pattern's share of the call.
type preparedPart struct {
	pattern *Pattern
	number  int // of the pattern
	call    *call
	bound   *boundCall // nil if there is nothing to compute
	heads   []int      // of the layer; nil: all
	stores  bool       // it has memory in the workspace
	readies bool       // something comes before attention
}

// wrap says whose error it is.
func (p *preparedPart) wrap(err error) error { return Part{Heads: p.heads}.wrap(err) }

// idle says that there is nothing to compute.
func (p *Prepared) idle() bool {
	return !slices.ContainsFunc(p.parts, func(x *preparedPart) bool { return x.bound != nil })
}

// Shape is the call's, with its defaults filled in.
func (p *Prepared) Shape() Shape { return p.call.Shape }

// Workspace is how many bytes of device memory a run needs beside its tensors: 0 for patterns that do not depend on data, unless a kernel
// leaves out heads between others, counts tiles that a skip leaves out, or lengths are in device memory. It grows with the lengths, the heads and the budgets, so that the
// workspace of the largest call serves all smaller ones. Parts have memory of their own for what attention reads; what their index stages
// compute on the way there they use in turn.
func (p *Prepared) Workspace() int64 { return p.most }

// Launches is how many kernels compute the attention itself.
func (p *Prepared) Launches() int { return p.launches }

// Blocks is how many thread blocks the largest launch of the attention has.
func (p *Prepared) Blocks() (most int64) {
	if p.records == nil {
		return 0
	}
	attend := p.stages[len(p.stages)-1]
	for _, r := range p.records.records[attend.first:attend.end] {
		g := r.launch.Grid
		most = max(most, int64(g[0])*int64(g[1])*int64(g[2]))
	}
	return most
}

// NeedsIndex says whether a run computes lists, or means: not for patterns that do not depend on data and have no means, and not where dense attention is known to be
// faster whatever the data would choose.
func (p *Prepared) NeedsIndex() bool {
	return slices.ContainsFunc(p.parts, func(x *preparedPart) bool {
		return x.bound != nil && x.pattern.prepares() && x.bound.routing != allDense
	})
}

// ListBytes is how many bytes of the workspace hold what the attention kernels read of choices: lists, their lengths and bitmaps, without the
// copies of K and V at chosen columns, and without means.
func (p *Prepared) ListBytes() (sum int64) {
	for _, part := range p.parts {
		if part.bound == nil {
			continue
		}
		if _, means := part.pattern.schedule.Means(); means {
			sum += part.bound.Extent(ir.ListName(ir.DroppedName, "kept")).Bytes
		}
		for _, n := range part.bound.choices {
			for _, f := range abi.ListFields[n.source.Kind] {
				if f.Name != "kc" && f.Name != "vc" && f.Type == "ptr" {
					sum += part.bound.Extent(n.list(f.Name)).Bytes
				}
			}
		}
	}
	return sum
}

// Run enqueues the call on a stream (nil: the default stream) and returns. For patterns that the data decides, the kernels that compute its
// lists come first. It does not synchronise, allocates no device memory, copies nothing and keeps no reference, so that a CUDA graph may
// capture it. Errors wrap ErrBadCall when a pointer is at fault; then nothing was enqueued.
func (p *Prepared) Run(s device.Stream, at Pointers) error { return p.RunStages(s, at, AllStages) }

// RunIndex is the first half of Run: it enqueues the kernels that choose what to keep, and leaves their lists in the workspace.
func (p *Prepared) RunIndex(s device.Stream, at Pointers) error {
	return p.RunStages(s, at, StagePool|StageChoose|StageGather)
}

// RunAttention is the second half of Run, over the lists that RunIndex or WriteChosen left in the workspace.
func (p *Prepared) RunAttention(s device.Stream, at Pointers) error {
	return p.RunStages(s, at, StageAttend)
}

// Check says what Run would say of pointers, and enqueues nothing.
func (p *Prepared) Check(at Pointers) error {
	if p.idle() {
		return nil
	}
	return p.call.checkPointers(at, p.workspace)
}

// bases are the pointers that addresses start from.
func (p Pointers) bases() pointers {
	return pointers{baseQ: p.Q, baseK: p.K, baseV: p.V, baseO: p.O, baseLSE: p.LSE, baseWorkspace: p.Workspace,
		baseLengthsQ: p.LengthsQ, baseLengthsK: p.LengthsK, baseOffsets: p.Offsets,
		baseStartsQ: p.StartsQ, baseStartsK: p.StartsK,
		baseSpans: p.Spans, baseSpanCount: p.SpanCount, baseKeys: p.Keys, baseKeyCount: p.KeyCount,
		baseMass: p.Mass, baseMassRows: p.MassRows}
}

// partOf is the part that has a head of the layer.
func (p *Prepared) partOf(head int) *preparedPart {
	for _, part := range p.parts {
		if part.heads == nil || slices.Contains(part.heads, head) {
			return part
		}
	}
	return nil
}

// Cover returns which pairs a run keeps in a head, counted over the batch from 0 to Batch*QHeads-1, for the listed query rows (nil: all of
// them): one byte for each row and key, [len(rows), SeqK], 1 where the pair is kept. It is computed from the schedule that the head's kernel
// was compiled from. Where the data decides it follows from the device's own lists, in what ReadChosen returns for the head; else chosen
// is not looked at. Where the caller gives the lists, chosen.Kept has them, and the bytes say how often a pair counts.
func (p *Prepared) Cover(head int, chosen *Chosen, rows []int) ([]byte, error) {
	if p.call.Lengths != InShape {
		return nil, device.BadCall("the lengths of the call are in device memory; ask a call with the lengths of one sequence what it keeps")
	}
	if n := p.call.Batch * p.call.QHeads; head < 0 || head >= n {
		return nil, device.BadCall("there is no head %d, want 0 to %d", head, n-1)
	}
	part := p.partOf(head % p.call.QHeads)
	if part == nil {
		return nil, device.BadCall("no part has head %d", head%p.call.QHeads)
	}
	if i := slices.IndexFunc(rows, func(i int) bool { return i < 0 || i >= p.call.SeqQ }); i >= 0 {
		return nil, device.BadCall("row %d of the coverage does not exist, want 0 to %d", rows[i], p.call.SeqQ-1)
	}
	if rows == nil {
		rows = make([]int, p.call.SeqQ)
		for i := range rows {
			rows[i] = i
		}
	}
	return part.cover(chosen, rows)
}

func (p *preparedPart) cover(chosen *Chosen, rows []int) (_ []byte, err error) {
	schedule := p.pattern.schedule
	var selection *ir.Selection
	switch {
	case p.pattern.given:
		if selection, err = chosen.given(); err != nil {
			return nil, err
		}
	case len(p.pattern.choices) == 0:
	case chosen == nil:
		return nil, fmt.Errorf("%w: pattern %s: what it keeps depends on data and differs by head: give what ReadChosen returns", device.ErrBadCall, schedule.Name)
	case chosen.Dense && p.pattern.dense != nil:
		selection, schedule = chosen.Kept, p.pattern.dense
	default:
		selection = chosen.Kept
	}
	launched, err := schedule.Bind(p.call.values)
	if err != nil {
		return nil, err
	}
	shape := ir.Shape{Sq: p.call.SeqQ, Sk: p.call.SeqK, QOffset: p.call.QOffset}
	cover := make([]byte, 0, len(rows)*p.call.SeqK)
	for _, i := range rows {
		row, err := launched.RowWith(selection, shape, i)
		if err != nil {
			return nil, err
		}
		cover = append(cover, row...)
	}
	return cover, nil
}
