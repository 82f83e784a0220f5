package runtime

import (
	"errors"
	"fmt"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// Recall measures what share of the attention mass calls kept, on sampled rows: kernels for a head dim and a type, on a device. It is safe
// for concurrent use until Close. docs/recall.md has the definition, the design and the cost.
type Recall struct {
	of     *artifact.Recall
	loaded *Loaded // the device and the modules; it has no patterns
	codes  map[string]*loadedCode
}

// LoadRecall loads what package compile made. Errors wrap ErrTarget where a kernel has no room on the device.
func LoadRecall(dev device.Device, of *artifact.Recall) (*Recall, error) {
	r := &Recall{of: of, codes: map[string]*loadedCode{}}
	r.loaded = &Loaded{dev: dev, modules: newModules(dev, &artifact.Artifact{Modules: of.Modules})}
	codes := &codeLoader{Loaded: r.loaded}
	for _, u := range of.Kernels {
		if c := &of.Codes[u.Code]; c.SharedBytes <= dev.Info().MaxSharedBytes {
			r.codes[u.Name] = &loadedCode{}
			codes.add(r.codes[u.Name], c)
		}
	}
	err := codes.load()
	if missing := of.Program.Missing(r.parameters); err == nil && missing != "" {
		err = fmt.Errorf("%w: %w: the kernel %s needs more shared memory a block than the %d bytes of %s",
			artifact.ErrTarget, device.ErrUnsupported, missing, dev.Info().MaxSharedBytes, dev.Info().Name)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// parameters finds the parameters of a kernel that is loaded.
func (r *Recall) parameters(name string) ([]artifact.Param, bool) {
	if c := r.codes[name]; c != nil {
		return c.Params, true
	}
	return nil, false
}

// Close gives the kernels back. Runs must have ended.
func (r *Recall) Close() error { return r.loaded.Close() }

// PreparedRecall is a recall of a call, ready to run behind it. It is immutable and safe for concurrent use until its Recall is closed.
type PreparedRecall struct {
	call      *call // the one that is looked at
	rows      []RowRange
	workspace int64
	records   *recording
}

// Prepare makes ready to say, for every query head of a call, what share of the attention mass its kept pairs hold: the mean over some rows of
// exp(lse - lse over all keys). All keys are the keys up to the row's position, or all of them for heads whose pattern can keep keys after
// the query. Without rows, they are SampleRows(SeqQ, SampledRows, 0). Heads that no part of the call has are left out. Errors wrap
// ErrBadCall: where the call has no rows or no keys, has its lengths in device memory, or has not got the rows.
func (r *Recall) Prepare(of *Prepared, rows ...RowRange) (*PreparedRecall, error) {
	if err := r.check(of); err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		rows = []RowRange{SampleRows(of.call.SeqQ, SampledRows, 0)}
	}
	p := &PreparedRecall{call: of.call, rows: rows}
	for _, x := range rows {
		if err := x.check(of.call.SeqQ); err != nil {
			return nil, err
		}
	}
	if n := p.Sampled(); n > ir.MaxParam {
		return nil, device.BadCall("the recall is to look at %d rows, want at most %d", n, ir.MaxParam)
	}
	record := &recorder{dev: r.loaded.dev}
	for _, causal := range []bool{true, false} {
		if c := of.bounded(causal); c.present > 0 {
			if err := r.record(record, p, c); err != nil {
				return nil, err
			}
		}
	}
	p.records = record.finish()
	return p, nil
}

// check says whether a call is one that the kernels can look at.
func (r *Recall) check(of *Prepared) error {
	c := of.call
	switch {
	case of.dev != r.loaded.dev:
		return device.BadCall("the call and its recall are on different devices")
	case c.headDim != r.of.HeadDim || c.dtype != r.of.DType:
		return device.BadCall("the call has head dim %d and type %s, its recall was compiled for %d and %s", c.headDim, c.dtype, r.of.HeadDim, r.of.DType)
	case c.Lengths != InShape:
		return device.BadCall("a recall of a call with lengths in device memory is not there: look at one sequence, with its lengths in the shape and pointers to its rows")
	case c.SeqQ == 0 || c.SeqK == 0:
		return device.BadCall("a call of %d queries and %d keys has no attention mass, want one of each at least", c.SeqQ, c.SeqK)
	}
	return nil
}

// bounded is the call of the heads whose patterns provably keep no keys after the query, or of the others. Queries behind all keys see all
// of them, whatever their order, so the others are moved there.
func (p *Prepared) bounded(causal bool) *call {
	c := *p.call
	c.mask = make([]bool, c.QHeads)
	for _, part := range p.parts {
		if part.pattern.schedule.Causal() != causal {
			continue
		}
		for h := range c.QHeads {
			c.mask[h] = c.mask[h] || p.partOf(h) == part
		}
	}
	c.countHeads()
	if !causal {
		c.QOffset = max(c.QOffset, c.SeqK-1)
	}
	return &c
}

// record makes the records for some heads. The launches of all rows and heads take turns in one workspace.
func (r *Recall) record(to *recorder, p *PreparedRecall, c *call) error {
	before, sampled := 0, p.Sampled()
	for _, rows := range p.rows {
		for _, piece := range rows.pieces(abi.ProbeRows) {
			x, err := r.bind(c, ir.Env{"first": int64(piece.First), "step": int64(piece.Step), "rows": int64(piece.Count),
				"before": int64(before), "sampled": int64(sampled)})
			if err != nil {
				return err
			}
			actions, err := x.actions(ir.PartNumbers, ir.PartRecall)
			if err != nil {
				return wrapInternal(err)
			}
			if err := to.add(r.codes, x, actions); err != nil {
				return err
			}
			before += piece.Count
			p.workspace = max(p.workspace, x.Kept)
		}
	}
	return nil
}

// bind puts numbers to the program.
func (r *Recall) bind(c *call, values map[string]int64) (*boundCall, error) {
	l := ir.ProgramLaunch{Numbers: c.numbers(), Kernels: r.parameters, Heads: make([]ir.Env, c.QHeads)}
	l.Numbers["multiprocessors"], l.Numbers["scratch_bytes"] = int64(r.loaded.dev.Info().Multiprocessors), 0
	for name, v := range paramNumbers(values) {
		l.Numbers[name] = v
	}
	for h := range l.Heads {
		if c.takesPart(h) {
			l.Heads[h] = ir.Env{}
		}
	}
	bound, err := r.of.Program.Bind(l)
	if err != nil {
		return nil, device.BadCall("%w", err)
	}
	return &boundCall{call: c, BoundProgram: bound, floats: map[string]float32{"scale_log2": c.scaleLog2}}, nil
}

// Workspace is how many bytes of device memory a run needs beside the tensors. The workspace of the call that is looked at serves, once
// what it chose is no longer wanted, if it is as large.
func (p *PreparedRecall) Workspace() int64 { return p.workspace }

// Sampled is how many rows of a head are looked at: the last dimension of MassRows.
func (p *PreparedRecall) Sampled() (n int) {
	for _, r := range p.rows {
		n += r.Count
	}
	return n
}

// Rows lists these rows, in the order of MassRows.
func (p *PreparedRecall) Rows() (out []int) {
	for _, r := range p.rows {
		for i := range r.Count {
			out = append(out, r.First+i*r.Step)
		}
	}
	return out
}

// Shape is the shape of the call that is looked at.
func (p *PreparedRecall) Shape() Shape { return p.call.Shape }

// Run enqueues the recall on a stream, behind the run of the call, and returns. It reads Q, K and the LSE that the call wrote, and writes Mass and, unless
// it is 0, MassRows. As Run of a call it does not wait, allocates nothing on the device, and may be captured. Errors wrap ErrBadCall when a
// pointer is at fault; then nothing was enqueued.
func (p *PreparedRecall) Run(s device.Stream, at Pointers) error {
	if err := p.checkPointers(at); err != nil {
		return err
	}
	return p.records.run(s, at.bases(), 0, len(p.records.records))
}

func (p *PreparedRecall) checkPointers(at Pointers) error {
	for _, x := range [...]struct {
		name  string
		at    device.Ptr
		align device.Ptr
		bytes int64 // 0: there may be none
	}{{"Q", at.Q, copyBytes, 1}, {"K", at.K, copyBytes, 1}, {"LSE", at.LSE, lseBytes, 1}, {"Mass", at.Mass, lseBytes, 1},
		{"MassRows", at.MassRows, lseBytes, 0}, {"Workspace", at.Workspace, ir.BufferAlign, p.workspace}} {
		switch {
		case x.at == 0 && x.bytes > 0:
			return device.BadCall("%s is a null pointer, a recall wants device memory there", x.name)
		case x.at%x.align != 0:
			return device.BadCall("%s starts at %#x, want an address that is a multiple of %d bytes", x.name, uint64(x.at), x.align)
		}
	}
	if at.WorkspaceBytes < p.workspace {
		return device.BadCall("Workspace has %d bytes, want %d, see the method Workspace of the recall", at.WorkspaceBytes, p.workspace)
	}
	return p.checkApart(at)
}

// checkApart refuses outputs in memory that the recall reads, or in each other's.
func (p *PreparedRecall) checkApart(at Pointers) error {
	c, heads := p.call, int64(p.call.Batch*p.call.QHeads)
	lse := c.Strides.LSE
	reads := []region{c.tensorRegion("Q", at.Q, c.Strides.Q, c.QHeads, c.SeqQ), c.tensorRegion("K", at.K, c.Strides.K, c.KVHeads, c.SeqK),
		newRegion("LSE", at.LSE, lseBytes*int64(c.SeqQ), step{lseBytes * lse.Batch, int64(c.Batch - 1)}, step{lseBytes * lse.Head, int64(c.QHeads - 1)})}
	writes := []region{newRegion("Mass", at.Mass, lseBytes*heads), newRegion("Workspace", at.Workspace, p.workspace)}
	if at.MassRows != 0 {
		writes = append(writes, newRegion("MassRows", at.MassRows, lseBytes*heads*int64(p.Sampled())))
	}
	for i := range writes {
		if err := writes[i].apart(reads, writes[:i]); err != nil {
			return err
		}
	}
	return nil
}
