//go:build cgo && linux && (amd64 || arm64)

package main

import (
	"fmt"

	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/runtime/device"
)

// workloadSpec is what minfc_workload makes.
type workloadSpec struct {
	kind        string
	seed        uint64
	batch, rows int
}

// write fills q, k and v of the pointers, and waits.
func (w workloadSpec) write(h handle, want heads, at pointers, stream uintptr) error {
	d, err := devices.get(h)
	if err != nil {
		return err
	}
	own, err := want.check()
	if err != nil {
		return err
	}
	spec := workload.Spec{Kind: workload.Kind(w.kind), Batch: w.batch, QHeads: own.Q, KVHeads: own.KV, SeqLen: w.rows, HeadDim: own.Dim,
		Seed: w.seed, DType: own.DType}
	if err := spec.Check(); err != nil {
		return fmt.Errorf("%w: %w", device.ErrBadCall, err)
	}
	s, err := d.stream(stream)
	if err != nil {
		return err
	}
	if (at.Q|at.K|at.V)%16 != 0 {
		return device.BadCall("q, k and v lie at %#x, %#x and %#x, want multiples of 16", uint64(at.Q), uint64(at.K), uint64(at.V))
	}
	if err := d.checkOwn(&at); err != nil {
		return err
	}
	return workload.Fill(d.Device, spec, at.Q, at.K, at.V, s)
}
