package bench

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/runtime/device"
)

// quality is what a pattern does to the result, on one set of inputs.
type quality struct {
	recall float64 // mean over all rows of exp(LSE of the pattern - LSE of dense)
	err    float64 // of sampled rows of O, all heads: |O - dense O| / |dense O|
}

// sampledRows is the number of rows of each head on which outputs are compared.
const sampledRows = 64

// compareOutputs reads back both results of a call of n rows.
func (c Config) compareOutputs(dev device.Device, n int, mine, dense output) (q quality, err error) {
	if q.recall, err = c.recall(dev, n, mine.lse, dense.lse); err != nil {
		return q, err
	}
	diff, norm := 0.0, 0.0
	got, want := make([]float32, c.HeadDim), make([]float32, c.HeadDim)
	for head := range c.QHeads {
		for _, row := range spread(n, sampledRows) {
			at := (int64(head)*int64(n) + int64(row)) * int64(c.HeadDim) * 2
			if err := c.readRow(dev, got, mine.o, at); err != nil {
				return q, err
			}
			if err := c.readRow(dev, want, dense.o, at); err != nil {
				return q, err
			}
			for i := range got {
				d := float64(got[i]) - float64(want[i])
				diff, norm = diff+d*d, norm+float64(want[i])*float64(want[i])
			}
		}
	}
	q.err = math.Sqrt(diff / norm)
	if math.IsNaN(q.recall+q.err) || math.IsInf(q.recall+q.err, 0) {
		return q, fmt.Errorf("the outputs are not numbers: recall %v, error %v", q.recall, q.err)
	}
	return q, nil
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

// recall is the mean share of the dense softmax's mass that the pattern's rows hold.
func (c Config) recall(dev device.Device, n int, mine, dense device.Ptr) (float64, error) {
	sum := 0.0
	a, b := make([]byte, 4*n), make([]byte, 4*n)
	for head := range c.QHeads {
		at := device.Ptr(4 * int64(n) * int64(head))
		if err := dev.CopyToHost(a, mine+at, nil); err != nil {
			return 0, err
		}
		if err := dev.CopyToHost(b, dense+at, nil); err != nil {
			return 0, err
		}
		for i := 0; i < len(a); i += 4 {
			sum += math.Exp(float64(float32At(a, i)) - float64(float32At(b, i)))
		}
	}
	return sum / float64(n) / float64(c.QHeads), nil
}

func float32At(b []byte, i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(b[i:]))
}
