package emu

import (
	"math/rand/v2"
	"sync"
)

// A block with its warps and shared memory is a few megabytes, and most launches of a test are short: blocks are used again,
// by any launch of any device. What a block leaves behind in registers and shared bytes stays there, as on a GPU: the
// masks of written registers and the shadow of shared memory are cleared, and they decide what can be read.

var spareBlocks = sync.Pool{New: func() any {
	b := &block{mbars: map[int]*mbarrier{}}
	b.rng = rand.New(&b.source)
	return b
}}

// takeBlock gives a block that fits a launch.
func takeBlock(r *launchRun) *block {
	b := spareBlocks.Get().(*block)
	warps := (r.threads + 31) / 32
	b.run, b.last = r, &allocation{}
	b.counts, b.conflicts = sized(b.counts, len(r.k.code)), sized(b.conflicts, len(r.k.code))
	clear(b.counts)
	clear(b.conflicts)
	b.barriers, b.pendingAtExit = 0, 0
	for len(b.crew) < warps {
		b.crew = append(b.crew, &warp{block: b, id: len(b.crew)})
	}
	b.warps = b.crew[:warps]
	for _, w := range b.warps {
		w.fit(r.k)
	}
	b.groups = sized(b.groups, warps/groupWarps)
	b.shared.fit(r.k.staticShared+r.launch.SharedBytes, warps)
	return b
}

// giveBack keeps a block for another launch. One that ended in an error is not kept.
func (b *block) giveBack() {
	b.run, b.last = nil, nil
	spareBlocks.Put(b)
}

// fit gives the warp the registers of a kernel and fills the registers that never change.
func (w *warp) fit(k *kernel) {
	w.r32, w.init32 = sized(w.r32, int(k.n32)), sized(w.init32, int(k.n32))
	w.r64, w.init64 = sized(w.r64, int(k.n64)), sized(w.init64, int(k.n64))
	w.pred, w.initP = sized(w.pred, int(k.nP)), sized(w.initP, int(k.nP))
	w.tensor.slots = w.tensor.slots[:0]
	if k.tensor {
		w.tensor.slots = sized(w.tensor.slots, int(k.n32))
	}
	for _, c := range k.const32 {
		w.r32[c.slot] = splat(uint32(c.value))
	}
	for _, c := range k.const64 {
		for i := range w.r64[c.slot] {
			w.r64[c.slot][i] = c.value
		}
	}
}

// fit gives a block's shared memory its size. All of the shadow is clear, here and beyond, but for the pages that have changed.
func (s *sharedMemory) fit(size, warps int) {
	s.reset()
	words := (size + 3) / 4
	s.data = sized(s.data, words*4)[:size]
	s.words, s.stamp, s.bytes = sized(s.words, words), sized(s.stamp, words), sized(s.bytes, words)
	s.changed = sized(s.changed, size>>pageShift+1)
	for len(s.clocks) < 2*warps {
		s.clocks = append(s.clocks, nil)
	}
	for i := range 2 * warps {
		s.clocks[i] = sized(s.clocks[i], words)
	}
	s.readAt, s.spareAtoms = s.clocks[:warps], s.clocks[warps:2*warps]
}

// reset clears what the block before left in the shadow.
func (s *sharedMemory) reset() {
	for p, at := range s.changed {
		if at == 0 {
			continue
		}
		s.changed[p] = 0
		from := p << (pageShift - 2)
		to := min(from+1<<(pageShift-2), len(s.words))
		clear(s.words[from:to])
		clear(s.stamp[from:to])
		for _, c := range s.readAt {
			clear(c[from:to])
		}
		for _, c := range s.atomAt {
			clear(c[from:to])
		}
	}
	s.store, s.changes, s.atomAt = 0, 0, nil
}

// sized gives a slice a length. What it has holds what it held; what is new is zero.
func sized[T any](s []T, n int) []T {
	if n <= cap(s) {
		return s[:n]
	}
	return make([]T, n)
}
