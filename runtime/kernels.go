package runtime

import (
	"fmt"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// loadedIndex is a kernel of the program on a device.
type loadedIndex struct {
	*artifact.IndexKernel
	function device.Function
}

// fitting are the index kernels of an entry that have room on a device.
func fitting(info *artifact.Kernel, dev device.Info) (out []*artifact.IndexKernel) {
	for i := range info.Index {
		if info.Index[i].SharedBytes <= dev.MaxSharedBytes {
			out = append(out, &info.Index[i])
		}
	}
	return out
}

// resolveIndex finds the kernels of the program that have room on the device in their loaded modules. Of a kernel that comes in several
// sizes one must have room.
func (k *LoadedKernel) resolveIndex(m *modules) error {
	info := k.dev.Info()
	k.index = map[string]*loadedIndex{}
	for _, x := range fitting(&k.info, info) {
		f, err := m.function(x.Module, x.Entry)
		if err != nil {
			return fmt.Errorf("load kernel %s: %w", x.Entry, err)
		}
		k.index[x.Name] = &loadedIndex{x, f}
	}
	if missing := k.program.Missing(k.parameters); missing != "" {
		return fmt.Errorf("%w: %w: the kernel %s needs more shared memory a block than the %d bytes of %s",
			artifact.ErrTarget, device.ErrUnsupported, missing, info.MaxSharedBytes, info.Name)
	}
	return nil
}

// parameters finds the parameters of a kernel that is loaded.
func (k *LoadedKernel) parameters(name string) ([]artifact.Param, bool) {
	if x := k.index[name]; x != nil {
		return x.Params, true
	}
	if name == abi.Attend || name == abi.Dense {
		return k.info.Parameters(name)
	}
	return nil, false
}
