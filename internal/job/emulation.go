package job

import (
	"github.com/minfc/minfc/internal/bench"
	"github.com/minfc/minfc/ir"
)

// Watch shows how far the device is, if it tells, and says beforehand that an emulator will need minutes.
func (j *Job) Watch() {
	bench.Watch(j.dev, j.console.Progress, int64(len(j.In.Q)))
	if j.dev.Info().Driver != "emu" {
		return
	}
	if seconds := j.emulatedSeconds(); seconds > bench.LongEmulation {
		j.console.Note("the emulator needs about %.0f minutes for this: give it fewer tokens or heads (minfc gen --seqlen 4k --heads 2), or use a GPU", seconds/60)
	}
}

// emulatedSeconds is about how long the emulator needs for all heads.
func (j *Job) emulatedSeconds() (seconds float64) {
	shape := ir.Shape{Sq: j.In.SeqQ, Sk: j.In.SeqK, QOffset: j.In.QOffset}
	for h := range j.In.QHeads {
		own := j.headAt(h)
		seconds += float64(j.In.Batch) * bench.EmulatedSeconds(own.kernel, j.In.HeadDim, shape, own.launch, j.prepared.Blocks())
	}
	return seconds
}
