package search

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	goruntime "runtime"

	"golang.org/x/sync/errgroup"

	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

// memory is the device memory of one prompt: its tensors, what a candidate computes of them, and the largest workspace.
type memory struct {
	dev   device.Device
	shape qkv.Shape
	at    runtime.Pointers
	owned []device.Ptr
}

// newMemory takes memory for the candidates. Where there is too little the error says what to lower.
func newMemory(dev device.Device, s qkv.Shape, list []candidate) (*memory, error) {
	m := &memory{dev: dev, shape: s}
	largest := list[0]
	for _, c := range list {
		if c.call.Workspace() > largest.call.Workspace() {
			largest = c
		}
	}
	m.at.WorkspaceBytes = largest.call.Workspace()
	row := 2 * int64(s.SeqQ) * int64(s.HeadDim)
	total := int64(0)
	for _, x := range []struct {
		to    *device.Ptr
		bytes int64
	}{
		{&m.at.Q, int64(s.QHeads) * row}, {&m.at.K, int64(s.KVHeads) * row}, {&m.at.V, int64(s.KVHeads) * row}, {&m.at.O, int64(s.QHeads) * row},
		{&m.at.LSE, 4 * int64(s.QHeads) * int64(s.SeqQ)}, {&m.at.Workspace, m.at.WorkspaceBytes},
	} {
		total += x.bytes
		if x.bytes == 0 {
			continue
		}
		p, err := dev.Alloc(x.bytes)
		if err != nil {
			err = fmt.Errorf("%.2f GB of device memory and more for a prompt of %d tokens, %.2f of it for the workspace of %s: leave such candidates out, or search on shorter prompts: %w",
				float64(total)/1e9, s.SeqQ, float64(m.at.WorkspaceBytes)/1e9, largest.Head, err)
			return nil, errors.Join(err, m.close())
		}
		*x.to, m.owned = p, append(m.owned, p)
	}
	return m, nil
}

func (m *memory) close() (err error) {
	if len(m.owned) > 0 {
		m.dev.Synchronize() // its error would repeat the first
	}
	for _, p := range m.owned {
		err = errors.Join(err, m.dev.Free(p))
	}
	m.owned = nil
	return err
}

// put brings the tensors of a prompt to the device, or makes them there. The emulator's are made on the host: the bytes are the same.
func (m *memory) put(p prompt) error {
	if p.in == nil && m.dev.Info().Driver != "emu" {
		return workload.Fill(m.dev, *p.made, m.at.Q, m.at.K, m.at.V, nil)
	}
	in := p.in
	if in == nil {
		var err error
		if in, err = qkv.GenerateSpec(*p.made, nil); err != nil {
			return err
		}
	}
	for _, x := range []struct {
		to   device.Ptr
		data []byte
	}{{m.at.Q, in.Q}, {m.at.K, in.K}, {m.at.V, in.V}} {
		if err := m.dev.CopyToDevice(x.to, x.data, nil); err != nil {
			return err
		}
	}
	return nil
}

// answering is the input of the rows that answer: their q, and all keys.
func (m *memory) answering(rows int, like *Source) (*qkv.Input, error) {
	s := m.shape
	in := &qkv.Input{Shape: s, Format: like.DType, K: make([]byte, 2*s.KVHeads*s.SeqK*s.HeadDim)}
	in.SeqQ, in.QOffset = rows, s.SeqQ-rows
	if err := m.dev.CopyToHost(in.K, m.at.K, nil); err != nil {
		return nil, err
	}
	for h := range s.QHeads {
		q := make([]byte, 2*rows*s.HeadDim)
		if err := m.dev.CopyToHost(q, m.at.Q+device.Ptr(2*(h*s.SeqQ+in.QOffset)*s.HeadDim), nil); err != nil {
			return nil, err
		}
		in.Q = append(in.Q, q...)
	}
	return in, nil
}

// outcome is what a candidate computed in the sampled rows.
type outcome struct {
	o      []byte    // [rows, QHeads, HeadDim]
	lse    []float64 // [rows, QHeads]
	chosen []runtime.Chosen
}

// run runs a candidate on the prompt that was put there.
func (m *memory) run(c candidate, rows sample) (outcome, error) {
	if err := c.call.Run(nil, m.at); err != nil {
		return outcome{}, failure.OfKernel(err)
	}
	out, err := m.read(rows)
	if err == nil {
		out.chosen, err = c.call.ReadChosen(nil, m.at)
	}
	return out, failure.OfKernel(err)
}

// read reads the sampled rows of O and LSE.
func (m *memory) read(rows sample) (out outcome, err error) {
	s := m.shape
	rowBytes := 2 * s.QHeads * s.HeadDim
	out.o = make([]byte, rows.rows()*rowBytes)
	to := out.o
	for _, x := range rows.spans {
		if err := m.dev.CopyToHost(to[:x.n*rowBytes], m.at.O+device.Ptr(x.first*rowBytes), nil); err != nil {
			return out, err
		}
		to = to[x.n*rowBytes:]
	}
	all := make([]byte, 4*s.QHeads*s.SeqQ)
	if err := m.dev.CopyToHost(all, m.at.LSE, nil); err != nil {
		return out, err
	}
	for _, x := range rows.spans {
		for i := x.first; i < x.first+x.n; i++ {
			for h := range s.QHeads {
				out.lse = append(out.lse, float64(math.Float32frombits(binary.LittleEndian.Uint32(all[4*(h*s.SeqQ+i):]))))
			}
		}
	}
	return out, nil
}

// eachHead calls work for all heads, as many at a time as there are cores.
func eachHead(heads int, work func(head int) error) error {
	var g errgroup.Group
	g.SetLimit(goruntime.GOMAXPROCS(0))
	for h := range heads {
		g.Go(func() error { return work(h) })
	}
	return g.Wait()
}
