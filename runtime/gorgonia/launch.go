//go:build gorgonia

package gorgonia

import (
	"fmt"
	"sync"

	"gorgonia.org/cu"

	"github.com/minfc/minfc/internal/nvidia"
	"github.com/minfc/minfc/runtime/device"
)

var _ device.Enqueuer = (*gpu)(nil)

// Launch enqueues one kernel.
func (f *function) Launch(l device.Launch, args [][]byte, s device.Stream) error {
	_, err := f.mod.dev.Enqueue([]device.Command{{Function: f, Launch: l, Args: args}}, s)
	return err
}

// Enqueue makes the context current once for all commands.
func (d *gpu) Enqueue(commands []device.Command, s device.Stream) (n int, err error) {
	for i := range commands {
		if err := d.checkCommand(&commands[i]); err != nil {
			return i, err
		}
	}
	stream, err := d.stream(s)
	if err != nil {
		return 0, err
	}
	packed := packings.Get().(*arguments)
	defer packings.Put(packed)
	err = d.do("", func() (err error) {
		for n < len(commands) && err == nil {
			if err = d.enqueue(&commands[n], packed, stream); err == nil {
				n++
			}
		}
		return err
	})
	return n, err
}

// packings are kept, so that an enqueued launch allocates nothing.
var packings = sync.Pool{New: func() any { return &arguments{} }}

// checkCommand checks what the driver would not.
func (d *gpu) checkCommand(c *device.Command) error {
	if c.Function == nil {
		return nvidia.CheckFill(c.Bytes)
	}
	f, ok := c.Function.(*function)
	if !ok || f.mod.dev != d {
		return fmt.Errorf("%w: the function is of another device", device.ErrBadCall)
	}
	if err := f.check(c.Launch, c.Args); err != nil {
		return fmt.Errorf("launch of %q: %w", f.name, err)
	}
	return nil
}

func (d *gpu) enqueue(c *device.Command, packed *arguments, stream cu.Stream) error {
	if c.Function == nil {
		if c.Bytes == 0 {
			return nil
		}
		return failure("cuMemsetD8Async", cu.MemsetD8Async(cu.DevicePtr(c.Clear), 0, c.Bytes, stream))
	}
	f := c.Function.(*function)
	err := packed.pack(c.Args)
	if err == nil {
		err = failure("cuFuncSetAttribute", f.allowShared(c.Launch.SharedBytes))
	}
	if err == nil {
		err = failure("cuLaunchKernel", launch(f.fn, &c.Launch, packed, StreamHandle(stream)))
	}
	if err != nil {
		return fmt.Errorf("launch of %q: %w", f.name, err)
	}
	return nil
}

func (f *function) check(l device.Launch, args [][]byte) error {
	if f.mod.unloaded.Load() {
		return fmt.Errorf("%w: its module was unloaded", device.ErrClosed)
	}
	return nvidia.CheckLaunch(&f.mod.dev.info, l, f.params, args)
}

// allowShared raises the function's limit of dynamic shared memory, which is 48 KB unless asked for more.
func (f *function) allowShared(need int) error {
	f.raise.Lock()
	defer f.raise.Unlock()
	if need <= f.allowed {
		return nil
	}
	if err := setMaxDynamicShared(f.fn, need); err != nil {
		return err
	}
	f.allowed = need
	return nil
}
