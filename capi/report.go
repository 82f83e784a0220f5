//go:build cgo && linux && (amd64 || arm64)

package main

import (
	"strings"

	"github.com/minfc/minfc/internal/outlook"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

// headJSON is what one head of a batch entry did.
type headJSON struct {
	Dense     bool    `json:"dense"`
	SparseMS  float64 `json:"sparse_ms"`
	DenseMS   float64 `json:"dense_ms"`
	Columns   int     `json:"columns"`
	Diagonals int     `json:"diagonals"`
	Blocks    int     `json:"blocks"`
	Tiles     int     `json:"tiles,omitempty"`          // that the head met, of a pattern with a skip
	Left      int     `json:"tiles_left_out,omitempty"` // of them
}

// describe is a description of a call, as JSON.
func describe(h handle) (string, error) {
	c, err := attentionCall(h)
	if err != nil {
		return "", err
	}
	parts, err := c.Describe()
	if err != nil {
		return "", err
	}
	return inJSON(struct {
		Kept  int64                 `json:"kept_bytes"`
		Parts []runtime.Description `json:"parts"`
	}{c.KeptBytes(), parts})
}

// chosen is what a run did, as JSON.
func chosen(h handle, at pointers, stream uintptr) (string, error) {
	c, err := attentionCall(h)
	if err != nil {
		return "", err
	}
	s, err := c.of.dev.stream(stream)
	if err != nil {
		return "", err
	}
	if err := c.of.dev.checkOwn(&at); err != nil {
		return "", err
	}
	heads, err := c.ReadChosen(s, at)
	if err != nil {
		return "", err
	}
	skipped, err := c.ReadSkipped(s, at)
	if err != nil {
		return "", err
	}
	var out struct {
		Heads  []headJSON `json:"heads"`
		Dense  int        `json:"dense_heads"`
		Sparse int        `json:"sparse_heads"`
	}
	out.Heads = make([]headJSON, c.Shape().Batch*c.Shape().QHeads)
	for i, x := range heads {
		out.Heads[i] = countsOf(x)
		if x.Dense {
			out.Dense++
		}
	}
	for i, x := range skipped {
		out.Heads[i].Tiles, out.Heads[i].Left = x.Tiles, x.Left
	}
	out.Sparse = len(out.Heads) - out.Dense
	return inJSON(out)
}

func countsOf(x runtime.Chosen) headJSON {
	out := headJSON{Dense: x.Dense, SparseMS: x.SparseMS, DenseMS: x.DenseMS}
	for _, s := range x.Asked.Sets {
		switch s.Kind {
		case ir.ChosenColumns:
			out.Columns += len(s.Members)
		case ir.ChosenDistances:
			out.Diagonals += len(s.Members)
		default:
			for _, blocks := range s.Blocks {
				out.Blocks += len(blocks)
			}
		}
	}
	return out
}

// estimate is what a call is expected to take on a machine, as JSON. It compiles for an emulated GPU, which launches nothing.
func estimate(spec string, want heads, s shape, machine string) (string, error) {
	if s.Lengths != runtime.InShape {
		return "", device.BadCall("lengths in device memory say nothing of how long a call takes: estimate each sequence with its lengths in the shape")
	}
	m, err := outlook.FindMachine("", machine)
	if err != nil {
		return "", device.BadCall("%w", err)
	}
	dev, _, err := device.OpenSpec("emu:" + strings.TrimSuffix(m.Target, "a"))
	if err != nil {
		return "", err
	}
	defer dev.Close()
	a, err := compileOn(&openDevice{Device: dev}, spec, want)
	if err != nil {
		return "", err
	}
	defer a.Close()
	call, err := a.prepare(s)
	if err != nil {
		return "", err
	}
	o, err := outlook.ExpectParts(m, a.Loaded(), call.Shape(), a.Parts()...)
	if err != nil {
		return "", err
	}
	return inJSON(struct {
		Machine   string  `json:"machine"`
		Target    string  `json:"target"`
		Low       float64 `json:"low_ms"`
		High      float64 `json:"high_ms"`
		Dense     float64 `json:"dense_ms"`
		RunsDense bool    `json:"runs_dense"`
	}{o.Machine.Name, o.Machine.Target, o.Low, o.High, o.Dense, o.RunsDense})
}
