package emu

// lanes is one 32-bit register of a warp, lanes64 one 64-bit register.
type (
	lanes   [32]uint32
	lanes64 [32]uint64
)

const fullMask = ^uint32(0)

// control says what the stepping loop does with an instruction.
type control uint8

const (
	ctlRun     control = iota // call exec for the active lanes
	ctlBranch                 // go to target
	ctlExit                   // ret, exit
	ctlBarrier                // bar.sync, bar.arrive, bar.red: may block the warp
	ctlWarp                   // collective: exec sees the whole warp or the fragment is at fault
	ctlTry                    // try says whether the instruction is done; if not, it has parked the warp
	ctlGroup                  // wgmma.mma_async: waits for the warpgroup
)

// inst is one decoded instruction. Slots index the warp's register files: 32-bit, 64-bit or predicates,
// as exec expects. Unused source slots are 0, a constant zero that is always initialised.
type inst struct {
	exec   func(w *warp, in *inst, m uint32) error
	try    func(w *warp, in *inst, m uint32) (done bool, err error)
	ctl    control
	neg    bool // the guard is negated
	guard  int32
	target int32 // branch

	d, d2, a, b, c int32
	notA, notC     bool // negated predicate sources

	f32  func(d, a, b, c *lanes)
	f64  func(d, a, b, c *lanes64)
	conv func(x uint64) uint64
	cmp  func(w *warp, in *inst) (lt, eq, un uint32)

	ftz    bool
	dead2  bool // the second destination is absent
	want   uint8
	mode   uint8
	signed bool
	space  space
	wideD  bool // the destination or data registers are 64-bit
	wideA  bool // the source or address register is 64-bit
	size   int  // bytes of one element
	vec    int  // elements
	dv     [4]int32
	av     [4]int32
	bv     [4]int32
	cv     [4]int32
	off    int64
	imm    uint64
	wgmma  *wgmma
	watch  *watch // what exec was before execWatched took its place

	line int
	name string // full opcode
	text string
}

type space uint8

const (
	spaceGeneric space = iota
	spaceGlobal
	spaceShared
	spaceParam
)

// constant is a slot that holds the same value in every lane for ever: an immediate or a symbol's address.
type constant struct {
	slot  int32
	value uint64
}

// special is a slot filled with a special register's value when a block starts.
type special struct {
	slot int32
	name string
}

// kernel is a decoded entry, ready to run. It is immutable and shared by all blocks.
type kernel struct {
	name         string
	code         []inst
	params       []param
	paramOffset  []int // of each parameter in the parameter space
	paramBytes   int
	maxThreads   int
	maxShared    int // bytes of shared memory that its target allows a block
	launchRegs   int // registers of a thread at launch, 0 when the directives do not fix them
	staticShared int // bytes, rounded up to the alignment of the dynamic part
	n32, n64, nP int32
	tensor       bool // has wgmma instructions
	const32      []constant
	const64      []constant
	special32    []special
	ready32      []uint32 // initialised lanes at the start of a warp, per slot
	ready64      []uint32
	names        []regName
}

type regName struct {
	class regClass
	slot  int32
	name  string
}

// nameOf finds the register that owns a slot, for messages.
func (k *kernel) nameOf(slot int32, c regClass) string {
	for _, n := range k.names {
		if n.slot == slot && (n.class == c || n.class == class16 && c == class32) {
			return n.name
		}
	}
	return "(unnamed)"
}
