package bench

import (
	"fmt"
	goruntime "runtime"

	"github.com/minfc/minfc/internal/progress"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// LongEmulation is how many seconds a launch on the emulator may take before a person should be told.
const LongEmulation = 60

// What the emulator takes for a pair of a head, in nanoseconds of one core: measured with dense attention of 2048 tokens. Kernels with
// lists take half as much again, their index stage included.
const (
	pairNanos = 40.0
	dimNanos  = 1.2
	listPart  = 1.5
)

// EmulatedSeconds is about how long the emulator needs for the pairs that a call has in one head, which runs a pattern with these
// parameters, if the launch has a number of blocks. It is 0 for a call that cannot be counted, which the launch refuses.
func EmulatedSeconds(p *runtime.Pattern, headDim int, shape ir.Shape, params map[string]int64, blocks int64) float64 {
	nanos := pairNanos + dimNanos*float64(headDim)
	s := p.Schedule()
	if len(s.Index) > 0 { // any of the pairs of dense attention may be kept
		if s = p.DenseSchedule(); s == nil {
			return 0
		}
		nanos, params = nanos*listPart, nil
	}
	values, err := ir.CheckLaunch(s.Params, nil, params)
	if err != nil {
		return 0
	}
	count, err := CountWork(s, values, shape)
	if err != nil {
		return 0
	}
	pairs := float64(count.Tiles) * float64(s.Tile.Rows) * float64(s.Tile.Keys)
	cores := max(1, min(int64(goruntime.GOMAXPROCS(0)), blocks)) // a block runs on one of them
	return pairs * nanos * 1e-9 / float64(cores)
}

// fewBlocks is how many blocks say too little of how far a launch is.
const fewBlocks = 16

// Watch shows the progress of a device that tells of it, which the emulator does. Outputs are the bytes that attention kernels write, 0 if
// that is not known.
func Watch(dev device.Device, show *progress.Reporter, outputs int64) {
	d, ok := dev.(*emu.Device)
	if !ok || show == nil {
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
		show.Step("emulating "+p.Kernel, done, total)
	})
}

// emulatedPairs is what the emulator gets through in about a minute.
const emulatedPairs = 1 << 28

// checkEmulation refuses what would keep the emulator busy for hours.
func (c Config) checkEmulation(info device.Info, list []*subject) error {
	if info.Driver != "emu" {
		return nil
	}
	for _, n := range c.SeqLens {
		for _, s := range list {
			pairs, err := s.pairsAtMost(n)
			if err != nil {
				return err
			}
			if pairs := float64(pairs) * float64(c.QHeads); pairs > emulatedPairs {
				return fmt.Errorf("the emulator would compute %s pairs of %s at length %s, want at most %s: give shorter lengths and fewer heads, or measure on a GPU",
					amount(pairs), s.pattern.Name, Length(n), amount(emulatedPairs))
			}
		}
	}
	return nil
}

// pairsAtMost bounds the pairs of a head.
func (s *subject) pairsAtMost(n int) (int64, error) {
	if s.dynamic() {
		return int64(n) * int64(n+1) / 2, nil
	}
	count, err := CountWork(s.schedule, s.values, ir.Shape{Sq: n, Sk: n})
	return count.Pairs, err
}
