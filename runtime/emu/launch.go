package emu

import (
	"context"
	"fmt"
	goruntime "runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/minfc/minfc/runtime/device"
)

// launchRun is one launch: what all its blocks share.
type launchRun struct {
	k       *kernel
	launch  device.Launch
	params  []byte
	threads int // a block
	mem     *memory
	opt     *Options
	watch   func(Progress) // nil if nobody watches
	within  context.Context
	blocks  uint64
	done    atomic.Uint64 // blocks
	written atomic.Int64  // bytes of global memory, while somebody watches
}

func newLaunch(k *kernel, l device.Launch, args [][]byte, mem *memory, opt *Options) (*launchRun, error) {
	r := &launchRun{k: k, launch: l, mem: mem, opt: opt, params: make([]byte, k.paramBytes)}
	if err := r.checkGeometry(); err != nil {
		return nil, fmt.Errorf("launch of %s: %w", k.name, err)
	}
	if len(args) != len(k.params) {
		return nil, fmt.Errorf("launch of %s: found %d arguments, the kernel has %d parameters", k.name, len(args), len(k.params))
	}
	for i, a := range args {
		if len(a) != k.params[i].size {
			return nil, fmt.Errorf("launch of %s: argument %d has %d bytes, parameter %s has %d", k.name, i, len(a), k.params[i].name, k.params[i].size)
		}
		copy(r.params[k.paramOffset[i]:], a)
	}
	return r, nil
}

// gridLimits are the limits of every GPU since sm_30.
var gridLimits = [3]uint32{1<<31 - 1, 65535, 65535}

func (r *launchRun) checkGeometry() error {
	l, limit := r.launch, 1024
	if r.k.maxThreads > 0 {
		limit = r.k.maxThreads
	}
	threads := uint64(1)
	for i := range l.Grid {
		if l.Grid[i] == 0 || l.Grid[i] > gridLimits[i] || l.Block[i] == 0 {
			return fmt.Errorf("found grid %v and block %v, wanted every number above 0 and a grid of at most %v", l.Grid, l.Block, gridLimits)
		}
		if threads *= uint64(l.Block[i]); threads > uint64(limit) {
			return fmt.Errorf("found a block of %v threads, the kernel allows %d", l.Block, limit)
		}
	}
	r.threads = int(threads)
	most := min(r.k.maxShared, sharedOf[r.opt.Capability])
	if total := r.k.staticShared + l.SharedBytes; l.SharedBytes < 0 || total > most {
		return fmt.Errorf("found %d bytes of shared memory, the device has %d for a block", total, most)
	}
	return nil
}

// run executes the grid on all workers. When blocks fail, the error of the first one in grid order is reported, so
// that it does not depend on timing: blocks before it have all been started and run to their end.
func (r *launchRun) run() (Stats, error) {
	g := r.launch.Grid
	total := uint64(g[0]) * uint64(g[1]) * uint64(g[2])
	workers := r.opt.Workers
	if workers <= 0 {
		workers = goruntime.GOMAXPROCS(0)
	}
	workers = int(min(uint64(workers), total))
	r.blocks = total
	c := collector{failedAt: total}
	blocks := make([]*block, workers)
	var wg sync.WaitGroup
	for i := range blocks {
		wg.Go(func() {
			blocks[i] = takeBlock(r)
			c.work(blocks[i])
		})
	}
	wg.Wait()
	stats := newStats(r, total, blocks)
	if c.err == nil {
		for _, b := range blocks {
			b.giveBack()
		}
	}
	return stats, c.err
}

// collector hands out blocks and keeps the first failure.
type collector struct {
	next     atomic.Uint64
	mu       sync.Mutex
	failedAt uint64
	err      error
}

func (c *collector) work(b *block) {
	for {
		i := c.next.Add(1) - 1
		c.mu.Lock()
		stop := i >= c.failedAt
		c.mu.Unlock()
		if stop {
			return
		}
		if err := b.run.within.Err(); err != nil {
			c.fail(i, err)
			return
		}
		if err := b.guarded(i); err != nil {
			c.fail(i, err)
			return
		}
		b.run.ended()
	}
}

// guarded runs a block and turns a panic of the emulator into an error: on a goroutine of its own nobody else could.
func (b *block) guarded(i uint64) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("internal: emulator: block %d: %v\n%s", i, r, debug.Stack())
		}
	}()
	return b.runBlock(i)
}

func (c *collector) fail(i uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i < c.failedAt {
		c.failedAt, c.err = i, err
	}
}
