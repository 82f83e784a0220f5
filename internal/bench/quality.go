package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

// sampledRows is the number of rows of each head on which outputs are compared.
const sampledRows = 64

// distance reads back both results of a call of n rows: |O - dense O| / |dense O| of sampled rows of O, all heads.
func (c Config) distance(dev device.Device, n int, mine, dense output) (float64, error) {
	diff, norm := 0.0, 0.0
	got, want := make([]float32, c.HeadDim), make([]float32, c.HeadDim)
	for head := range c.QHeads {
		for _, row := range spread(n, sampledRows) {
			at := (int64(head)*int64(n) + int64(row)) * int64(c.HeadDim) * 2
			if err := c.readRow(dev, got, mine.o, at); err != nil {
				return 0, err
			}
			if err := c.readRow(dev, want, dense.o, at); err != nil {
				return 0, err
			}
			for i := range got {
				d := float64(got[i]) - float64(want[i])
				diff, norm = diff+d*d, norm+float64(want[i])*float64(want[i])
			}
		}
	}
	out := math.Sqrt(diff / norm)
	if math.IsNaN(out) || math.IsInf(out, 0) {
		return 0, fmt.Errorf("the outputs are not numbers: error %v", out)
	}
	return out, nil
}

// spread lists up to count rows of n, evenly, the last one included.
func spread(n, count int) []int {
	count = min(n, count)
	rows := make([]int, count)
	for i := range rows {
		rows[i] = (i+1)*n/count - 1
	}
	return rows
}

func (c Config) readRow(dev device.Device, to []float32, from device.Ptr, at int64) error {
	raw := make([]byte, 2*len(to))
	if err := dev.CopyToHost(raw, from+device.Ptr(at), nil); err != nil {
		return err
	}
	return half.Decode(c.DType, to, raw)
}

// recallRows is the number of rows of each head that recall is the mean of: nobody times it, so they are more than a recall takes by itself.
const recallRows = 256

// lookAt fills in what share of the attention mass the call kept that once ran on the first inputs. The memory that it takes is free again
// before anything is timed. What planted lists keep says nothing.
func (b *bencher) lookAt(m *memory, n int, s *subject, out output, r *Row) (err error) {
	if b.Planted && s.dynamic() {
		return nil
	}
	call, err := s.prepare(b.Config, n)
	if err != nil {
		return err
	}
	recall, err := b.recall.Prepare(call, runtime.SampleRows(n, recallRows, b.Seed))
	if err != nil {
		return err
	}
	at, mass := m.pointers(s, m.sets[0], out), make([]byte, 4*b.QHeads)
	at.WorkspaceBytes = recall.Workspace()
	if at.Workspace, err = b.dev.Alloc(at.WorkspaceBytes); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.dev.Free(at.Workspace)) }()
	if at.Mass, err = b.dev.Alloc(int64(len(mass))); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.dev.Free(at.Mass)) }()
	if err := errors.Join(recall.Run(nil, at), b.dev.CopyToHost(mass, at.Mass, nil)); err != nil { // the copy waits for the run
		return err
	}
	mean := 0.0
	for i := 0; i < len(mass); i += 4 {
		mean += float64(float32At(mass, i)) / float64(b.QHeads)
	}
	if math.IsNaN(mean) {
		return fmt.Errorf("the outputs are not numbers: recall %v", mean)
	}
	r.Recall, r.RecallRows = &mean, recall.Sampled()
	return nil
}

func float32At(b []byte, i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(b[i:]))
}
