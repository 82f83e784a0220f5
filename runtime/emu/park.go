package emu

// parking is what a parked warp waits for. A parked warp has not moved: when it is woken it executes its instruction
// again. Warps that wait for one thing park on one value.
type parking interface {
	// describe completes "warp 3: waits for" in a report of a deadlock.
	describe() string
}

// park stops the warp at its current instruction, until wake is called with the same value.
func (w *warp) park(on parking) {
	w.state, w.on = warpParked, on
}

// wake lets the warps go on that are parked on a value. It also notes that something has happened in the block.
func (b *block) wake(on parking) {
	b.events++
	for _, w := range b.warps {
		if w.state == warpParked && w.on == on {
			w.state, w.on = warpReady, nil
		}
	}
}

// delayed is something that an instruction left to happen later, the latest when a warp waits for it.
type delayed struct {
	on  parking
	pc  int32
	run func() error
}

// early says whether what an instruction may leave for later happens at once. With an even seed nothing does, which is
// the order that finds missing waits; an odd seed mixes both.
func (b *block) early() bool {
	return b.run.opt.Seed%2 == 1 && b.rng.IntN(2) == 0
}

// later runs an effect now or leaves it to unstall.
func (b *block) later(d delayed) error {
	if b.early() {
		return d.run()
	}
	b.pending = append(b.pending, d)
	return nil
}

// unstall is called when no warp can run. It makes something happen that a parked warp waits for; when there is no such
// thing it lets waits that may time out do so, once each until something happens. It says whether a warp may run now.
func (b *block) unstall() (bool, error) {
	var due []int
	for i := range b.pending {
		if b.awaited(b.pending[i].on) {
			due = append(due, i)
		}
	}
	if len(due) > 0 {
		return true, b.happen(due[b.rng.IntN(len(due))])
	}
	woken := false
	for _, w := range b.warps {
		if _, ok := w.on.(*mbarrier); ok && w.state == warpParked && w.timedOut != b.events {
			w.state, w.on, w.timedOut, w.giveUp = warpReady, nil, b.events, true
			woken = true
		}
	}
	return woken, nil
}

func (b *block) awaited(on parking) bool {
	for _, w := range b.warps {
		if w.state == warpParked && w.on == on {
			return true
		}
	}
	return false
}

// happen runs one delayed effect and takes it off the list, whose order it keeps.
func (b *block) happen(i int) error {
	d := b.pending[i]
	b.pending = append(b.pending[:i], b.pending[i+1:]...)
	return d.run()
}

// drift lets a delayed effect happen at a random time, with an odd seed.
func (b *block) drift() error {
	if len(b.pending) > 0 && b.run.opt.Seed%2 == 1 && b.rng.IntN(8) == 0 {
		return b.happen(b.rng.IntN(len(b.pending)))
	}
	return nil
}
