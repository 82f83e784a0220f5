package emu

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// sharedMemory is a block's shared memory with the shadow state that finds races and early reads. Races are tracked
// per 4-byte word: an access is ordered after another when the same warp made both, or when a barrier that both
// warps took part in lies between. The order is a vector clock for each warp that counts barrier arrivals.
type sharedMemory struct {
	data   []byte
	words  []wordState
	readAt [][]uint32 // by warp, by word: the clock of the warp's last read
	atomAt [][]uint32 // the same for atomics; nil until the block's first one
	clocks [][]uint32 // what readAt and spareAtoms are parts of

	spareAtoms [][]uint32 // atomAt of a block that has atomics
	stamp      []uint32   // store instruction that last wrote the word, to find lanes that collide
	bytes      []uint8    // bytes of the word written by it
	changes    uint64     // claims of writes so far
	changed    []uint64   // by page: the last claim in it
	store      uint32     // serial number of the current store instruction
}

// wordState is the shadow of one word.
type wordState struct {
	clock  uint32 // the writer's own clock at the write
	pc     int32  // the writing instruction
	warp   uint8  // the writing agent
	lane   uint8  // byAsyncProxy, byCopy + lane or byLane + lane
	init   uint8  // a bit for each initialised byte
	flight uint8  // a bit for each byte that a pending copy will write, and the bits below
}

// Who wrote a word, beside its agent. A word that nobody wrote counts as written by the async proxy.
const (
	byAsyncProxy = 0
	byCopy       = 1 // cp.async
	byLane       = 33
)

// Bits of wordState.flight above the bytes' own.
const (
	beingRead    = 1 << 4 // a tensor store reads the word at a time of its own
	holdsBarrier = 1 << 5
)

// offset checks bounds and alignment of an access of n bytes, a power of two.
func (s *sharedMemory) offset(addr uint64, n int, lane int, what string) (int, error) {
	off := addr - sharedBase
	size := uint64(len(s.data))
	if off >= size || uint64(n) > size-off {
		return 0, oneLane(lane, "%s %d bytes of shared memory at offset %d, outside the block's %d bytes", what, n, int64(off), size)
	}
	if addr&uint64(n-1) != 0 {
		return 0, oneLane(lane, "%s %d bytes of shared memory at offset %d, which is not a multiple of %d", what, n, off, n)
	}
	return int(off), nil
}

// ordered says whether the last write of a word lies before what this lane does now. Data of an asynchronous copy
// belongs to its thread alone until a barrier, even inside the warp.
func (st *wordState) ordered(w *warp, lane int) bool {
	limit := w.clock[st.warp&(agents-1)]
	if st.lane-byCopy < 32 && int(st.warp) == w.id && int(st.lane) != lane+byCopy {
		limit--
	}
	return st.clock <= limit
}

// byteBits are the bits of the bytes that n bytes at off cover in their (first) word.
func byteBits(off, n int) uint8 {
	if n >= 4 {
		return 15
	}
	return uint8(1<<n-1) << (off & 3)
}

// read marks a read of n bytes and checks that they are there.
func (s *sharedMemory) read(w *warp, lane, off, n int) error {
	need := byteBits(off, n)
	first, last := off>>2, (off+n-1)>>2
	reads, now := s.readAt[w.id], w.clock[w.id&31]
	for i := first; i <= last; i++ {
		st := &s.words[i]
		if st.init&need != need || st.flight&^beingRead != 0 || !st.ordered(w, lane) {
			return s.readFault(w, lane, i, need)
		}
		if v := s.otherAtomic(w, i); v >= 0 {
			return oneLane(lane, "race: reads shared memory at offset %d, updated by an atomic of warp %d, with no barrier between", i*4, v)
		}
		reads[i] = now
	}
	return nil
}

// aloneLanes are the lanes that have used shared memory since a barrier last ordered the lanes of their warp, and the instruction
// that the last of them did it with.
type aloneLanes struct {
	lanes uint32
	pc    int32
}

func (w *warp) usesShared(lanes uint32) {
	w.alone = aloneLanes{w.alone.lanes | lanes, w.frags[0].pc}
}

// speaksForAll checks that the lanes which arrive at an mbarrier do not leave others of their warp behind: an arrival releases
// what its own thread did, and nothing but a bar.warp.sync orders before it what other threads did.
func (w *warp) speaksForAll(m uint32) error {
	others := w.alone.lanes &^ m
	if others == 0 {
		return nil
	}
	return oneLane(bits.TrailingZeros32(others), "race: has used shared memory at PTX line %d, and another lane arrives for it at an mbarrier: execute bar.warp.sync between", w.block.run.k.code[w.alone.pc].line)
}

// readFault says why a read is wrong. lane is -1 when the whole warp reads.
func (s *sharedMemory) readFault(w *warp, lane, word int, need uint8) error {
	st := &s.words[word]
	var m uint32
	if lane >= 0 {
		m = 1 << lane
	}
	at := fmt.Sprintf("reads shared memory at offset %d", word*4)
	switch {
	case st.flight&holdsBarrier != 0:
		return laneError(m, "%s, which holds the mbarrier initialised by %s", at, s.writer(w, st))
	case st.flight&^beingRead != 0 && st.warp >= maxWarps:
		return laneError(m, "%s, where %s is still in flight: wait for its mbarrier", at, s.writer(w, st))
	case st.flight&^beingRead != 0:
		return laneError(m, "%s, where %s is still in flight: wait for its group with cp.async.wait_group, then synchronise", at, s.writer(w, st))
	case st.init&need != need:
		missing := bits.TrailingZeros8(need &^ st.init)
		return laneError(m, "reads shared memory at offset %d, which was never written", word*4+missing)
	case st.warp >= maxWarps:
		return laneError(m, "race: %s, written by %s, whose mbarrier this warp has not waited for", at, s.writer(w, st))
	case st.lane-byCopy < 32:
		return laneError(m, "%s, written by %s, with no barrier after that thread's wait", at, s.writer(w, st))
	}
	return laneError(m, "race: %s, written by %s, with no barrier between", at, s.writer(w, st))
}

func (s *sharedMemory) writer(w *warp, st *wordState) string {
	in := &w.block.run.k.code[st.pc]
	switch {
	case st.lane == byAsyncProxy:
		return fmt.Sprintf("the tensor load at PTX line %d", in.line)
	case st.lane-byCopy < 32:
		return fmt.Sprintf("the asynchronous copy of warp %d lane %d at PTX line %d", st.warp, st.lane-byCopy, in.line)
	}
	return fmt.Sprintf("warp %d at PTX line %d", st.warp, in.line)
}

// pageShift makes pages of 1 KB, the unit in which changes are noted.
const pageShift = 10

// touch notes that the bytes are about to change: every write comes through claim, asyncClaim or update first.
func (s *sharedMemory) touch(off, n int) {
	s.changes++
	for p := off >> pageShift; p <= (off+n-1)>>pageShift; p++ {
		s.changed[p] = s.changes
	}
}

// claim checks that a write of n bytes is ordered after every earlier access by other warps.
func (s *sharedMemory) claim(w *warp, lane, off, n int) error {
	s.touch(off, n)
	for i := off >> 2; i <= (off+n-1)>>2; i++ {
		if err := s.claimWord(w, lane, i); err != nil {
			return err
		}
		if err := s.claimRead(w, lane, i); err != nil {
			return err
		}
	}
	return nil
}

// claimWord checks a write of a word against earlier writes and atomics.
func (s *sharedMemory) claimWord(w *warp, lane, i int) error {
	st := &s.words[i]
	if st.flight != 0 {
		return s.busy(w, lane, i)
	}
	if !st.ordered(w, lane) {
		return oneLane(lane, "race: writes shared memory at offset %d, written by %s, with no barrier between", i*4, s.writer(w, st))
	}
	if v := s.otherAtomic(w, i); v >= 0 {
		return oneLane(lane, "race: writes shared memory at offset %d, updated by an atomic of warp %d, with no barrier between", i*4, v)
	}
	return nil
}

// busy says why a word cannot be written now.
func (s *sharedMemory) busy(w *warp, lane, word int) error {
	st := &s.words[word]
	at := fmt.Sprintf("writes shared memory at offset %d", word*4)
	switch {
	case st.flight&holdsBarrier != 0:
		return oneLane(lane, "%s, which holds the mbarrier initialised by %s", at, s.writer(w, st))
	case st.flight&beingRead != 0:
		return oneLane(lane, "%s, which a tensor store still reads: wait with cp.async.bulk.wait_group.read first", at)
	case st.warp >= maxWarps:
		return oneLane(lane, "%s, where %s is still in flight: wait for its mbarrier first", at, s.writer(w, st))
	}
	return oneLane(lane, "%s, where %s is still in flight: wait for its group first", at, s.writer(w, st))
}

// claimRead checks that the reads of a word by other warps lie before what this warp does now.
func (s *sharedMemory) claimRead(w *warp, lane, word int) error {
	for v := range s.readAt {
		if v != w.id && s.readAt[v][word] > w.clock[v&31] {
			return s.unread(lane, word, v)
		}
	}
	return nil
}

func (s *sharedMemory) unread(lane, word, reader int) error {
	return oneLane(lane, "race: writes shared memory at offset %d, read by warp %d, with no barrier between", word*4, reader)
}

// otherAtomic is a warp whose atomic on the word is not ordered before what w does now, or -1.
func (s *sharedMemory) otherAtomic(w *warp, word int) int {
	if s.atomAt == nil { // most blocks have none
		return -1
	}
	return s.atomicUnseen(w.id, &w.clock, word)
}

func (s *sharedMemory) atomicUnseen(id int, seen *vclock, word int) int {
	for v, at := range s.atomAt {
		if v != id && at[word] > seen[v&31] {
			return v
		}
	}
	return -1
}

// update marks an atomic of n bytes and checks it. Atomics need no order among themselves, but one against plain reads
// and writes. The word's state goes on describing its last plain write.
func (s *sharedMemory) update(w *warp, lane, off, n int) error {
	if s.atomAt == nil {
		s.atomAt = s.spareAtoms
	}
	s.touch(off, n)
	for i := off >> 2; i <= (off+n-1)>>2; i++ {
		st := &s.words[i]
		if st.init != 15 || st.flight&^beingRead != 0 || !st.ordered(w, lane) {
			return s.readFault(w, lane, i, 15)
		}
		if st.flight != 0 {
			return s.busy(w, lane, i)
		}
		if err := s.claimRead(w, lane, i); err != nil {
			return err
		}
		s.atomAt[w.id][i] = w.clock[w.id&31]
	}
	return nil
}

// write stores up to 16 bytes of one lane. Lanes of one instruction may not write different values to one byte.
func (s *sharedMemory) write(w *warp, lane, off int, src []byte) error {
	n := len(src)
	if err := s.claim(w, lane, off, n); err != nil {
		return err
	}
	need := byteBits(off, n)
	for i := off >> 2; i <= (off+n-1)>>2; i++ {
		if s.stamp[i] != s.store {
			s.stamp[i], s.bytes[i] = s.store, need
		} else if err := s.collide(lane, off, i, need, src); err != nil {
			return err
		}
		st := &s.words[i]
		st.clock, st.pc, st.warp, st.lane = w.clock[w.id&31], w.frags[0].pc, uint8(w.id), byLane+uint8(lane)
		st.init |= need
	}
	copy(s.data[off:], src)
	return nil
}

// collide handles a second lane of the same instruction at a word.
func (s *sharedMemory) collide(lane, off, word int, need uint8, src []byte) error {
	again := s.bytes[word] & need
	s.bytes[word] |= need
	for ; again != 0; again &= again - 1 {
		at := word*4 + bits.TrailingZeros8(again)
		if s.data[at] != src[at-off] {
			return oneLane(lane, "writes another value to shared memory at offset %d than an earlier lane of the same instruction", at)
		}
	}
	return nil
}

// bankConflicts counts the extra passes of an access of n bytes a lane: the 32 banks are 4 bytes wide, wider
// accesses go in 2 or 4 groups of lanes, and equal words cost nothing.
func bankConflicts(addr *lanes64, m uint32, n int) int64 {
	group := 32
	if n > 4 {
		group = 32 * 4 / n
	}
	var extra int64
	for g := 0; g < 32; g += group {
		extra += groupConflicts(addr, m>>g&uint32(uint64(1)<<group-1)<<g)
	}
	return extra
}

// groupConflicts is the highest number of distinct words in one bank, less one.
func groupConflicts(addr *lanes64, m uint32) int64 {
	busy := uint32(0)
	clash := false
	for k := m; k != 0; k &= k - 1 {
		bank := addr[bits.TrailingZeros32(k)&31] >> 2 & 31
		bit := uint32(1) << bank
		clash = clash || busy&bit != 0
		busy |= bit
	}
	if !clash {
		return 0
	}
	var depth [32]int64
	worst := int64(0)
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		word := addr[i] >> 2
		if earlier(addr, m&(1<<i-1), word) {
			continue
		}
		bank := word & 31
		depth[bank]++
		worst = max(worst, depth[bank])
	}
	return worst - 1
}

// earlier says whether a lane of m uses the same word.
func earlier(addr *lanes64, m uint32, word uint64) bool {
	for ; m != 0; m &= m - 1 {
		if addr[bits.TrailingZeros32(m)&31]>>2 == word {
			return true
		}
	}
	return false
}

// load reads a little-endian value of 1, 2, 4 or 8 bytes.
func load(p []byte, size int) uint64 {
	switch size {
	case 1:
		return uint64(p[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(p))
	case 4:
		return uint64(binary.LittleEndian.Uint32(p))
	}
	return binary.LittleEndian.Uint64(p)
}

func save(p []byte, size int, v uint64) {
	switch size {
	case 1:
		p[0] = uint8(v)
	case 2:
		binary.LittleEndian.PutUint16(p, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(p, uint32(v))
	default:
		binary.LittleEndian.PutUint64(p, v)
	}
}
