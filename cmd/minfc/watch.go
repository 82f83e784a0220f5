package main

import (
	"github.com/minfc/minfc/internal/bench"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// fewBlocks is how many blocks say too little of how far a launch is.
const fewBlocks = 16

// watch shows the progress of a device that tells of it, which the emulator does. Outputs are the bytes that attention kernels write, 0 if
// that is not known.
func (a *app) watch(dev device.Device, outputs int64) {
	d, ok := dev.(*emu.Device)
	if !ok || a.progress == nil {
		return
	}
	d.Watch(func(p emu.Progress) {
		done, total := int64(p.Done), int64(p.Blocks)
		if p.Blocks < fewBlocks && outputs > 0 {
			if total = outputs; p.Done < p.Blocks {
				done = min(p.Written, total-1)
			} else {
				done = total
			}
		}
		a.progress.Step("emulating "+p.Kernel, done, total)
	})
}

// warnOfLongRun says beforehand that the emulator will need minutes.
func (a *app) warnOfLongRun(j *job) {
	if j.dev.Info().Driver != "emu" {
		return
	}
	seconds := 0.0
	shape := ir.Shape{Sq: j.in.SeqQ, Sk: j.in.SeqK, QOffset: j.in.QOffset}
	for h := range j.in.QHeads {
		head := j.head(h)
		seconds += float64(j.in.Batch) * bench.EmulatedSeconds(head.kernel, j.in.HeadDim, shape, head.launch, j.prepared.Blocks())
	}
	if seconds > bench.LongEmulation {
		a.note("the emulator needs about %.0f minutes for this: give it fewer tokens or heads (minfc gen --seqlen 4k --heads 2), or use a GPU", seconds/60)
	}
}
