package emu

import "github.com/minfc/minfc/runtime/device"

// Stats counts what a launch executed. An instruction counts once a warp, also when no lane of it is active.
type Stats struct {
	Kernel        string
	Launch        device.Launch
	Blocks        uint64
	Warps         int // a block
	Instructions  int64
	ByOpcode      map[string]int64 // full opcode, such as ex2.approx.ftz.f32
	BankConflicts int64            // extra shared memory passes of ld, st and ldmatrix
	ConflictLines map[int]int64    // the same by PTX line, where not 0
	Barriers      int64            // arrivals of warps
	PendingAtExit int64            // asynchronous copies of a lane that nobody waited for
}

func newStats(r *launchRun, total uint64, blocks []*block) Stats {
	s := Stats{Kernel: r.k.name, Launch: r.launch, Blocks: total, Warps: (r.threads + 31) / 32,
		ByOpcode: map[string]int64{}, ConflictLines: map[int]int64{}}
	for _, b := range blocks {
		s.Barriers += b.barriers
		s.PendingAtExit += b.pendingAtExit
		for pc := range r.k.code {
			in := &r.k.code[pc]
			if n := b.counts[pc]; n > 0 {
				s.Instructions += n
				s.ByOpcode[in.name] += n
			}
			if n := b.conflicts[pc]; n > 0 {
				s.BankConflicts += n
				s.ConflictLines[in.line] += n
			}
		}
	}
	return s
}
