package runtime

import (
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// Workspace returns how many bytes of device memory a launch of a needs beside its tensors: 0 for patterns that do not
// depend on data, unless heads take no part. Of a only the shape, the parameters and the heads count. It grows with the lengths, the heads
// and the budgets, so that the workspace of the largest call serves all smaller ones.
func (k *LoadedKernel) Workspace(a Attention) (int64, error) {
	p, err := k.prepareShape(a)
	if err != nil {
		return 0, err
	}
	return p.Workspace(), nil
}

// prepareShape prepares a call of contiguous tensors that is like a.
func (k *LoadedKernel) prepareShape(a Attention) (*Prepared, error) {
	return k.prepare(withoutStrides(a))
}

// ListBytes returns how many bytes of the workspace of a hold what the attention kernel reads of the choice: lists, their
// lengths and bitmaps, without the copies of K and V at chosen columns.
func (k *LoadedKernel) ListBytes(a Attention) (int64, error) {
	p, err := k.prepareShape(a)
	if err != nil || p.parts[0].bound == nil {
		return 0, err
	}
	x, sum := p.parts[0].bound, int64(0)
	for _, n := range x.choices {
		for _, f := range abi.ListFields[n.source.Kind] {
			if f.Name != "kc" && f.Name != "vc" && f.Type == "ptr" {
				sum += x.Extent(n.list(f.Name)).Bytes
			}
		}
	}
	return sum, nil
}

// checkWorkspace says whether a call brings the memory that it needs.
func (c *call) checkWorkspace(bytes int64) error {
	switch a := c.Attention; {
	case bytes == 0:
		return nil
	case a.Workspace == 0:
		return device.BadCall("Workspace is a null pointer, want %d bytes of device memory, see the method Workspace", bytes)
	case a.Workspace%ir.BufferAlign != 0:
		return device.BadCall("Workspace starts at %#x, want an address that is a multiple of %d bytes", uint64(a.Workspace), ir.BufferAlign)
	case a.WorkspaceBytes < bytes:
		return device.BadCall("Workspace has %d bytes, want %d, see the method Workspace", a.WorkspaceBytes, bytes)
	}
	return c.checkWorkspaceApart(c.Workspace, bytes)
}
