package emu

// Progress is how far a launch is.
type Progress struct {
	Kernel       string
	Done, Blocks uint64 // blocks that have ended, and all of them
	Written      int64  // bytes of global memory; a kernel that hands out its work by itself has few blocks, which end together
}

// writtenStep is how many bytes a block writes between two calls of a watcher.
const writtenStep = 1 << 14

// Watch calls f from now on while a launch runs: from several goroutines, not in order. f must not use the device.
func (d *Device) Watch(f func(Progress)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watch = f
}

// ended tells the watcher of a block that has ended.
func (r *launchRun) ended() {
	if r.watch != nil {
		r.watch(Progress{r.k.name, r.done.Add(1), r.blocks, r.written.Load()})
	}
}

// wrote counts bytes that the block wrote.
func (b *block) wrote(n int) {
	if b.run.watch == nil {
		return
	}
	if b.unsaid += n; b.unsaid >= writtenStep {
		b.run.watch(Progress{b.run.k.name, b.run.done.Load(), b.run.blocks, b.run.written.Add(int64(b.unsaid))})
		b.unsaid = 0
	}
}
