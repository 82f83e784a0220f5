package emu

import (
	"math/bits"
	"sort"
)

// Tensor copies and wgmma access shared memory through the async proxy. They see what ordinary instructions wrote (the
// generic proxy) only if the writing thread executes fence.proxy.async before it hands the data on. The other way round
// no fence is needed: waiting for an mbarrier, or for a group, is enough.

// fenceMark is one fence.proxy.async of a warp.
type fenceMark struct {
	at   uint32 // the warp's own clock just before it
	last lanes  // 1 + clock of the last fence of each lane up to here, 0 for none
}

// execProxyFence ends a stretch of the warp's clock, so that a write lies before the fence iff its clock does.
func execProxyFence(w *warp, _ *inst, m uint32) error {
	f := fenceMark{at: w.clock[w.id]}
	if n := len(w.fences); n > 0 {
		f.last = w.fences[n-1].last
	}
	for k := m; k != 0; k &= k - 1 {
		f.last[bits.TrailingZeros32(k)&31] = f.at + 1
	}
	w.fences = append(w.fences, f)
	w.clock[w.id]++
	return nil
}

// noFence is what a warp without a fence has.
var noFence lanes

// fencedBefore gives each lane's last fence up to a clock of the warp.
func (w *warp) fencedBefore(clock uint32) *lanes {
	i := sort.Search(len(w.fences), func(i int) bool { return w.fences[i].at > clock })
	if i == 0 {
		return &noFence
	}
	return &w.fences[i-1].last
}

// fenceView looks up the fences that lie before an access through the async proxy.
type fenceView struct {
	warps []*warp
	seen  *vclock
	last  [maxWarps]*lanes
	good  wordState // the last word that passed the checks: its neighbours are mostly the same
}

// covers says whether the writer of a word fenced it. What the async proxy wrote needs no fence.
func (v *fenceView) covers(st *wordState) bool {
	if st.lane == byAsyncProxy {
		return true
	}
	id := st.warp & 31
	if v.last[id] == nil {
		v.last[id] = v.warps[id].fencedBefore(v.seen[id])
	}
	return v.last[id][(st.lane-1)&31] > st.clock
}

// asyncRead checks and marks a read of n bytes (a multiple of 4) by an instruction of w that goes through the async
// proxy. seen is the warp's clock when it issued the instruction, which may lie before now.
func (s *sharedMemory) asyncRead(w *warp, seen *vclock, off, n int) error {
	if err := s.asyncCheck(w, &fenceView{warps: w.block.warps, seen: seen}, off, n); err != nil {
		return err
	}
	s.asyncMark(w, off, n)
	return nil
}

// asyncCheck is the first half of asyncRead.
func (s *sharedMemory) asyncCheck(w *warp, fences *fenceView, off, n int) error {
	seen := fences.seen
	for i, words := off>>2, s.words[:(off+n)>>2]; i < len(words); i++ {
		st := &words[i]
		if st.init == 15 && *st == fences.good && s.atomAt == nil {
			continue
		}
		if st.init != 15 || st.flight&^beingRead != 0 || st.clock > seen[st.warp&(agents-1)] {
			return s.readFault(w, -1, i, 15)
		}
		if !fences.covers(st) {
			return laneError(0, "reads shared memory at offset %d through the async proxy, written by %s, which executed no fence.proxy.async between", i*4, s.writer(w, st))
		}
		if v := s.atomicUnseen(w.id, seen, i); v >= 0 {
			return laneError(0, "race: reads shared memory at offset %d, updated by an atomic of warp %d, with no barrier between", i*4, v)
		}
		fences.good = *st
	}
	return nil
}

// asyncMark is the second half: the warp reads the words now.
func (s *sharedMemory) asyncMark(w *warp, off, n int) {
	reads, now := s.readAt[w.id][off>>2:(off+n)>>2], w.clock[w.id&31]
	for i := range reads {
		reads[i] = now
	}
}

// asyncClaim checks that a write of n bytes (a multiple of 4) through the async proxy, issued now by a lane of w, lies
// after every earlier access, and that the writers among them fenced.
func (s *sharedMemory) asyncClaim(w *warp, lane, off, n int) error {
	s.touch(off, n)
	fences := fenceView{warps: w.block.warps, seen: &w.clock}
	first, end := off>>2, (off+n)>>2
	for i := first; i < end; i++ {
		st := &s.words[i]
		if *st == fences.good && i > first && s.atomAt == nil {
			continue
		}
		if err := s.claimWord(w, lane, i); err != nil {
			return err
		}
		if !fences.covers(st) {
			return oneLane(lane, "overwrites shared memory at offset %d through the async proxy, written by %s, which executed no fence.proxy.async between", i*4, s.writer(w, st))
		}
		fences.good = *st
	}
	for v, reads := range s.readAt {
		limit := w.clock[v&31]
		for i, at := range reads[first:end] {
			if at > limit && v != w.id {
				return s.unread(lane, first+i, v)
			}
		}
	}
	return nil
}

// decodeProxyFence handles fence.proxy.async with an optional state space.
func decodeProxyFence(d *decoder) {
	d.needs(levelSM90)
	d.take("async")
	d.in.exec = execProxyFence
	if d.take("global") { // conflicts in global memory are not looked for
		d.in.exec = func(*warp, *inst, uint32) error { return nil }
	}
	d.take("shared::cta")
	d.count(0, 0)
}
