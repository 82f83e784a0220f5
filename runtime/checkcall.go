package runtime

import (
	"cmp"
	"math"
	"slices"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// Limits of one launch. Positions and lengths are 32-bit numbers in the kernel, with room to add.
const (
	maxGridYZ      = 1<<16 - 1
	maxStride      = 1<<39 - strideMultiple // elements; a tensor map takes less than 2^40 bytes
	maxRowBytes    = 1 << 31                // a kernel multiplies a row number by a 32-bit stride
	copyBytes      = 16                     // cp.async
	strideMultiple = copyBytes / elementBytes
)

// fillData checks the scale and the strides.
func (c *call) fillData() (err error) {
	if c.scaleLog2, err = scaleLog2(c.Scale, c.headDim); err != nil {
		return err
	}
	if err := c.fillTensors(); err != nil {
		return err
	}
	return c.fillLSE()
}

// CheckSizes says whether any device takes the lengths, the offset and the heads of a call; The error is an ErrBadCall.
func CheckSizes(a Shape) error {
	if err := checkLengths(a); err != nil {
		return err
	}
	if err := checkLengthsKind(a); err != nil {
		return err
	}
	return checkHeads(a)
}

func checkLengths(a Shape) error {
	for _, n := range []struct {
		name string
		got  int
	}{{"SeqQ", a.SeqQ}, {"SeqK", a.SeqK}, {"QOffset", a.QOffset}} {
		if n.got < 0 || n.got > ir.MaxParam {
			return device.BadCall("%s is %d, want 0 to %d", n.name, n.got, ir.MaxParam)
		}
	}
	if end := a.QOffset + a.SeqQ; end > ir.MaxEnd {
		return device.BadCall("the last query's position is %d (QOffset + SeqQ - 1), want less than %d", end-1, ir.MaxEnd)
	}
	switch {
	case a.Reach < 0 || a.Reach > ir.MaxEnd:
		return device.BadCall("Reach is %d, want 0 to %d", a.Reach, ir.MaxEnd)
	case a.Reach != 0 && a.Lengths != InShape:
		return device.BadCall("Reach is %d and the lengths are in device memory, where lists belong to one call: leave Reach 0", a.Reach)
	}
	return nil
}

func checkHeads(a Shape) error {
	for _, n := range []struct {
		name string
		got  int
	}{{"Batch", a.Batch}, {"QHeads", a.QHeads}, {"KVHeads", a.KVHeads}} {
		if n.got < 1 || n.got > maxGridYZ {
			return device.BadCall("%s is %d, want 1 to %d; split larger calls", n.name, n.got, maxGridYZ)
		}
	}
	if a.QHeads%a.KVHeads != 0 {
		return device.BadCall("QHeads is %d and KVHeads %d, want QHeads to be a multiple of KVHeads", a.QHeads, a.KVHeads)
	}
	return nil
}

func scaleLog2(scale float64, headDim int) (float32, error) {
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(headDim))
	}
	return float32(scale * math.Log2E), CheckScale(scale)
}

// CheckScale says whether kernels can take a softmax scale: they multiply by scale*log2(e) in float32, as a normal number. The error
// is an ErrBadCall.
func CheckScale(scale float64) error {
	s := float32(scale * math.Log2E)
	switch {
	case !(scale > 0) || math.IsInf(scale, 0):
		return device.BadCall("Scale is %v, want a number above 0 (or 0 for 1/sqrt of the head dim)", scale)
	case math.IsInf(float64(s), 0) || s < math.SmallestNonzeroFloat32*(1<<23): // normal numbers only
		return device.BadCall("Scale is %v, want 8.15e-39 to 2.35e+38: kernels multiply by Scale*log2(e) in float32, whose normal numbers are 1.18e-38 to 3.40e+38; scale q or k themselves instead", scale)
	}
	return nil
}

// dim is one dimension of a tensor, with its stride in elements.
type dim struct {
	name   string
	size   int
	stride int64
}

func (c *call) fillTensors() error {
	batch, rowsQ, rowsK := c.Rows()
	for _, t := range []struct {
		name        string
		stride      *Stride
		heads, rows int
		output      bool
	}{
		{"Q", &c.Strides.Q, c.QHeads, rowsQ, false},
		{"K", &c.Strides.K, c.KVHeads, rowsK, false},
		{"V", &c.Strides.V, c.KVHeads, rowsK, false},
		{"O", &c.Strides.O, c.QHeads, rowsQ, true},
	} {
		if t.rows == 0 { // never looked at, so anything will do
			*t.stride = Stride{}
			continue
		}
		t.stride.fill(t.heads, t.rows, c.headDim)
		if c.Lengths == Ragged {
			t.stride.Batch = 0
		}
		dims := []dim{{"batch", batch, t.stride.Batch}, {"head", t.heads, t.stride.Head}, {"row", t.rows, t.stride.Row}}
		if err := checkStrides(t.name, dims); err != nil {
			return err
		}
		if t.output {
			if err := checkDisjoint(t.name, dims, int64(c.headDim)); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill replaces strides that are all zero by the strides of a contiguous tensor.
func (t *Stride) fill(heads, rows, headDim int) {
	if *t == (Stride{}) {
		t.Row = int64(headDim)
		t.Head = t.Row * int64(rows)
		t.Batch = t.Head * int64(heads)
	}
}

func checkStrides(name string, dims []dim) error {
	for _, d := range dims {
		limit := int64(maxStride)
		if d.name == "row" {
			limit = maxRowBytes/elementBytes - strideMultiple
		}
		switch {
		case d.size == 1: // never stepped over
		case d.stride < 0 || d.stride > limit:
			return device.BadCall("%s has a %s stride of %d elements, want 0 to %d", name, d.name, d.stride, limit)
		case d.stride%strideMultiple != 0:
			return device.BadCall("%s has a %s stride of %d elements, want a multiple of %d (%d bytes)", name, d.name, d.stride, strideMultiple, copyBytes)
		}
	}
	return nil
}

// checkDisjoint refuses an output whose rows, of inner elements each, overlap: blocks would write over one another.
// It sorts dims by stride.
func checkDisjoint(name string, dims []dim, inner int64) error {
	slices.SortStableFunc(dims, func(a, b dim) int { return cmp.Compare(a.stride, b.stride) })
	for _, d := range dims {
		if d.size == 1 {
			continue
		}
		if d.stride < inner {
			return device.BadCall("%s overlaps itself: its %s stride is %d elements, want at least %d", name, d.name, d.stride, inner)
		}
		inner = d.stride*int64(d.size-1) + inner
	}
	return nil
}

func (c *call) fillLSE() error {
	if c.SeqQ == 0 {
		return nil
	}
	batch, rows, _ := c.Rows()
	lse := &c.Strides.LSE
	if lse.Row = 0; *lse == (Stride{}) {
		lse.Head = int64(rows)
		lse.Batch = lse.Head * int64(c.QHeads)
	}
	if c.Lengths == Ragged {
		lse.Batch = 0
	}
	dims := []dim{{"batch", batch, lse.Batch}, {"head", c.QHeads, lse.Head}}
	for _, d := range dims {
		if d.size > 1 && (d.stride < 0 || d.stride > maxStride) {
			return device.BadCall("LSE has a %s stride of %d elements, want 0 to %d", d.name, d.stride, int64(maxStride))
		}
	}
	return checkDisjoint("LSE", dims, int64(rows))
}

// checkPointers checks what a run brings: workspace is how many bytes of one it needs.
func (c *call) checkPointers(at Pointers, workspace int64) error {
	_, rowsQ, rowsK := c.Rows()
	for _, t := range [...]struct {
		name string
		at   device.Ptr
		rows int
	}{{"Q", at.Q, rowsQ}, {"K", at.K, rowsK}, {"V", at.V, rowsK}, {"O", at.O, rowsQ}} {
		switch {
		case t.rows == 0: // never looked at, so anything will do
		case t.at == 0:
			return device.BadCall("%s is a null pointer, want device memory", t.name)
		case t.at%copyBytes != 0:
			return device.BadCall("%s starts at %#x, want an address that is a multiple of %d bytes", t.name, uint64(t.at), copyBytes)
		}
	}
	if err := c.checkLengthPointers(at); err != nil {
		return err
	}
	if err := c.checkGivenPointers(at); err != nil {
		return err
	}
	if at.LSE%lseBytes != 0 {
		return device.BadCall("LSE starts at %#x, want an address that is a multiple of %d bytes", uint64(at.LSE), lseBytes)
	}
	if err := c.checkOverlap(at); err != nil {
		return err
	}
	return c.checkWorkspace(at, workspace)
}

// checkWorkspace says whether a run brings the memory that it needs.
func (c *call) checkWorkspace(at Pointers, bytes int64) error {
	switch {
	case bytes == 0:
		return nil
	case at.Workspace == 0:
		return device.BadCall("Workspace is a null pointer, want %d bytes of device memory, see the method Workspace", bytes)
	case at.Workspace%ir.BufferAlign != 0:
		return device.BadCall("Workspace starts at %#x, want an address that is a multiple of %d bytes", uint64(at.Workspace), ir.BufferAlign)
	case at.WorkspaceBytes < bytes:
		return device.BadCall("Workspace has %d bytes, want %d, see the method Workspace", at.WorkspaceBytes, bytes)
	}
	return c.checkWorkspaceApart(at, bytes)
}
