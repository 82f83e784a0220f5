package workload

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/runtime/device"
)

// Tensors are q [Batch, QHeads, SeqLen, HeadDim] and k, v [Batch, KVHeads, SeqLen, HeadDim] on a device, contiguous.
type Tensors struct {
	Q, K, V device.Ptr

	dev    device.Device
	module device.Module
	owned  []device.Ptr
}

// target runs on every GPU the project knows.
const target = "sm_80"

// OnDevice makes the bytes of Generate on a device, without an upload. It enqueues one launch a tensor on the stream (nil:
// the default stream) and does not wait. Out of memory wraps device.ErrOutOfMemory.
func OnDevice(dev device.Device, s Spec, stream device.Stream) (*Tensors, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	t := &Tensors{dev: dev}
	if err := t.place(s); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	if err := t.make(s, stream); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Fill makes the bytes of Generate in memory of the caller, where q, k and v lie contiguous, on 16 bytes. A tensor at address 0 is left
// out. It waits for the device.
func Fill(dev device.Device, s Spec, q, k, v device.Ptr, stream device.Stream) error {
	if err := s.Check(); err != nil {
		return err
	}
	t := &Tensors{Q: q, K: k, V: v, dev: dev}
	return errors.Join(t.make(s, stream), t.Close())
}

// Close waits for the device and frees the tensors.
func (t *Tensors) Close() error {
	if t.dev == nil {
		return nil
	}
	err := t.dev.Synchronize() // a launch may still read the plans
	for _, p := range t.owned {
		err = errors.Join(err, t.dev.Free(p))
	}
	if t.module != nil {
		err = errors.Join(err, t.module.Unload())
	}
	*t = Tensors{}
	return err
}

// tensors are q, k and v, in the order of Tensor.
func (t *Tensors) tensors() []*device.Ptr { return []*device.Ptr{&t.Q, &t.K, &t.V} }

// place allocates the tensors.
func (t *Tensors) place(s Spec) (err error) {
	for i, at := range t.tensors() {
		if *at, err = t.alloc(2 * int64(s.Batch) * int64(s.heads(Tensor(i))) * int64(s.SeqLen) * int64(s.HeadDim)); err != nil {
			return err
		}
	}
	return nil
}

// make enqueues a launch for each tensor that has a place.
func (t *Tensors) make(s Spec, stream device.Stream) error {
	gen, err := t.load(s)
	if err != nil {
		return err
	}
	freq, err := t.upload(frequencies(s.HeadDim), stream)
	if err != nil {
		return err
	}
	for i, at := range t.tensors() {
		if *at == 0 {
			continue
		}
		heads := s.Batch * s.heads(Tensor(i))
		plans, err := t.upload(s.plans(Tensor(i)), stream)
		if err != nil {
			return err
		}
		args := [][]byte{pointer(*at), pointer(plans), pointer(freq), binary.LittleEndian.AppendUint32(nil, uint32(s.SeqLen))}
		if err := gen.function.Launch(gen.grid(s.SeqLen, heads), args, stream); err != nil {
			return fmt.Errorf("making the workload: %w", err)
		}
	}
	return nil
}

// plans are the plans of all heads, batch by batch.
func (s Spec) plans(t Tensor) []plan {
	var out []plan
	for b := range s.Batch {
		for h := range s.heads(t) {
			out = append(out, *s.plan(t, b, h))
		}
	}
	return out
}

// generator is the loaded kernel and its launch geometry.
type generator struct {
	function           device.Function
	threads, blockRows int
	blocks             int // that fill the device
}

func (t *Tensors) load(s Spec) (*generator, error) {
	k, err := Kernel(s.HeadDim, s.DType)
	if err != nil {
		return nil, err
	}
	ptx, err := ptxgen.Compile(k.Module, ptxgen.Options{Target: target})
	if err != nil {
		return nil, fmt.Errorf("internal: %w", err)
	}
	if t.module, err = t.dev.LoadModule(ptx); err != nil {
		return nil, fmt.Errorf("loading the workload's kernel: %w", err)
	}
	const waves = 16 // of blocks on each multiprocessor, so that the last ones to finish matter little
	g := &generator{threads: k.Threads, blockRows: k.Threads / (s.HeadDim / pieceCols), blocks: waves * max(1, t.dev.Info().Multiprocessors)}
	g.function, err = t.module.Function(k.Entry)
	return g, err
}

// grid covers the rows of all heads with about as many blocks as fill the device; each walks over several rows.
func (g *generator) grid(rows, heads int) device.Launch {
	x := min((rows+g.blockRows-1)/g.blockRows, max(1, g.blocks/heads))
	return device.Launch{Grid: [3]uint32{uint32(x), uint32(heads), 1}, Block: [3]uint32{uint32(g.threads), 1, 1}}
}

func (t *Tensors) alloc(bytes int64) (device.Ptr, error) {
	p, err := t.dev.Alloc(bytes)
	if err == nil {
		t.owned = append(t.owned, p)
	}
	return p, err
}

// upload copies values of fixed size to new device memory.
func (t *Tensors) upload(values any, stream device.Stream) (device.Ptr, error) {
	data, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		return 0, fmt.Errorf("internal: %w", err)
	}
	p, err := t.alloc(int64(len(data)))
	if err != nil {
		return 0, err
	}
	return p, t.dev.CopyToDevice(p, data, stream)
}

func pointer(p device.Ptr) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(p)) }
