package bench

import (
	"errors"

	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

// memory is the device memory of one length: several sets of inputs, and two sets of outputs.
type memory struct {
	dev     device.Device
	sets    []inputs
	outputs [2]output
	spaces  map[*subject]int64 // bytes of workspace
	turn    int
}

// output is O in the type of q, and LSE in float32.
type output struct{ o, lse device.Ptr }

// maxSets bounds the sets of inputs. So many rotate that a kernel finds nothing of its inputs in the L2 cache, as in a
// model, where other layers ran in between.
const maxSets = 8

func setCount(i device.Info, setBytes, outputBytes int64) int {
	if i.Driver == "emu" {
		return 1 // it has no cache
	}
	wanted := 1 + 2*int64(i.L2Bytes)/setBytes
	room := (int64(i.MemoryBytes)*8/10 - 2*outputBytes) / setBytes
	return int(max(1, min(wanted, room, maxSets)))
}

// newMemory takes memory for calls of n rows; spaces are the bytes of the subjects' workspaces.
func (c Config) newMemory(dev device.Device, n int, spaces map[*subject]int64) (*memory, error) {
	m := &memory{dev: dev, spaces: spaces}
	if err := m.make(c, n); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

func (m *memory) make(c Config, n int) (err error) {
	rows := int64(c.QHeads) * int64(n)
	oBytes, lseBytes := rows*int64(c.HeadDim)*2, rows*4
	for i := range m.outputs {
		if m.outputs[i].o, err = m.dev.Alloc(oBytes); err != nil {
			return err
		}
		if m.outputs[i].lse, err = m.dev.Alloc(lseBytes); err != nil {
			return err
		}
	}
	spec := c.spec(n)
	setBytes := spec.Bytes()
	for _, bytes := range m.spaces {
		setBytes += bytes
	}
	for range setCount(m.dev.Info(), setBytes, oBytes+lseBytes) {
		if err := m.addSet(spec); err != nil {
			return err
		}
		spec.Seed++
	}
	return nil
}

func (m *memory) addSet(spec workload.Spec) error {
	set, err := workload.OnDevice(m.dev, spec, nil)
	if err != nil {
		return err
	}
	in := inputs{set, map[*subject]device.Ptr{}}
	m.sets = append(m.sets, in)
	for s, bytes := range m.spaces {
		if in.spaces[s], err = m.dev.Alloc(bytes); err != nil {
			return err
		}
	}
	return nil
}

// pointers are the tensors of a set, an output and the subject's workspace.
func (m *memory) pointers(s *subject, set inputs, out output) runtime.Pointers {
	return runtime.Pointers{Q: set.Q, K: set.K, V: set.V, O: out.o, LSE: out.lse, Workspace: set.spaces[s], WorkspaceBytes: m.spaces[s]}
}

// next is the set whose turn it is.
func (m *memory) next() inputs {
	m.turn++
	return m.sets[m.turn%len(m.sets)]
}

// close waits for the device first, so that nothing runs on memory that is free.
func (m *memory) close() error {
	errs := []error{m.dev.Synchronize()}
	for _, set := range m.sets {
		errs = append(errs, set.Close())
		for _, p := range set.spaces {
			if p != 0 {
				errs = append(errs, m.dev.Free(p))
			}
		}
	}
	for _, o := range m.outputs {
		for _, p := range []device.Ptr{o.o, o.lse} {
			if p != 0 {
				errs = append(errs, m.dev.Free(p))
			}
		}
	}
	return errors.Join(errs...)
}
