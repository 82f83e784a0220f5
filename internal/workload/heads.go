package workload

import (
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strings"
	"text/tabwriter"
)

// BlockSize is the number of keys that share a topic.
const BlockSize = 64

// Head says what was planted in one query head. All batches have the same structure in the head, with noise of their own.
type Head struct {
	Kind      Kind
	KVHead    int
	Sinks     int   // the first keys: every query looks at them
	Window    int   // keys before the query, itself included
	Columns   []int // heavy keys, ascending
	Distances []int // from the query back to the key, ascending; each query looks at one of them
	Blocks    []int // the topic of every block of BlockSize keys; a query looks at the blocks of its own topic
	Fit       Fit
}

// Fit is the pattern that keeps what was planted, and the parameters that are just large enough. Patterns decided by the
// data have budgets: vertical and slash of vertical_slash, topk of block_sparse. "dense" means that nothing smaller fits.
type Fit struct {
	Pattern string
	Params  map[string]int64
}

// String writes the fit as "a_shape sink=4 window=1024".
func (f Fit) String() string {
	names := make([]string, 0, len(f.Params))
	for name := range f.Params {
		names = append(names, name)
	}
	slices.Sort(names)
	out := f.Pattern
	for _, name := range names {
		out += fmt.Sprintf(" %s=%d", name, f.Params[name])
	}
	return out
}

// Planted says in words what is in the head.
func (h Head) Planted() string {
	switch h.Kind {
	case AShape:
		return fmt.Sprintf("%d sinks, window %d", h.Sinks, h.Window)
	case Slash:
		return "distances " + strings.Trim(fmt.Sprint(h.Distances), "[]")
	case Columns:
		return fmt.Sprintf("%d columns", len(h.Columns))
	case Blocks:
		return fmt.Sprintf("%d blocks, %d topics", len(h.Blocks), slices.Max(h.Blocks)+1)
	default:
		return "nothing"
	}
}

// Sizes of the structure. They grow with the square root of the length, as the useful budgets of long inputs do.
const (
	sinkKeys      = 4
	shortSlash    = 4 // distances of inputs below longInput tokens
	longSlash     = 8
	longInput     = 1 << 15
	slashWidth    = 5 // diagonals that a line is wide
	minWindowLog  = 4
	maxWindowLog  = 10
	minSlashInput = 64
)

// log2 rounds down.
func log2(n int) int { return bits.Len(uint(n)) - 1 }

// windowLog, columnLog and topicLog are the base-2 logarithms of the window, of the keys from one heavy key to the next,
// and of the number of topics.
func (s Spec) windowLog() int { return min(max(log2(s.SeqLen)-4, minWindowLog), maxWindowLog) }
func (s Spec) columnLog() int { return log2(s.SeqLen)/2 + 1 }
func (s Spec) topicLog() int  { return max(log2(s.SeqLen)/2-3, 0) }

// Heads returns the structure of every query head of a batch.
func (s Spec) Heads() []Head {
	heads := make([]Head, s.QHeads)
	for h := range heads {
		if first := h - h%s.group(); h > first {
			heads[h] = heads[first] // the heads of a group share the keys, and so the structure
		} else {
			heads[h] = s.structure(h / s.group())
		}
	}
	return heads
}

func (s Spec) structure(kvHead int) Head {
	h := Head{Kind: s.kindOf(kvHead), KVHead: kvHead, Fit: Fit{Pattern: "dense"}}
	switch h.Kind {
	case AShape:
		h.Sinks, h.Window = sinkKeys, 1<<s.windowLog()
		h.Fit = Fit{"a_shape", map[string]int64{"sink": int64(h.Sinks), "window": int64(h.Window)}}
	case Slash:
		h.Distances = s.distances(kvHead)
		h.Fit = verticalSlash(1, slashWidth*len(h.Distances))
	case Columns:
		h.Columns = s.columns(kvHead)
		h.Fit = verticalSlash(len(h.Columns), 1)
	case Blocks:
		h.Blocks = s.blocks(kvHead)
		topics := 1 << s.topicLog()
		h.Fit = Fit{"block_sparse", map[string]int64{"topk": int64((len(h.Blocks) + topics - 1) / topics)}}
	}
	return h
}

func verticalSlash(vertical, slash int) Fit {
	return Fit{"vertical_slash", map[string]int64{"vertical": int64(vertical), "slash": int64(slash)}}
}

// structureKeys draws the numbers that all tensors of a kv head must agree on.
func (s Spec) structureKeys(kvHead int) *keys { return newKeys(s.Seed, 's', uint64(kvHead)) }

// distances are 0 and one in every octave below a quarter of the length: N/4 to 3N/8, N/8 to 3N/16, and so on.
func (s Spec) distances(kvHead int) []int {
	out := []int{0}
	if s.SeqLen < minSlashInput {
		return out
	}
	count, k := shortSlash, s.structureKeys(kvHead)
	if s.SeqLen >= longInput {
		count = longSlash
	}
	for i := count; i > 1; i-- {
		low := s.SeqLen >> i
		out = append(out, low+int(uint64(k.next())*uint64(low/2+1)>>32))
	}
	return out
}

// columns are key 0, so that every query has one, and a key at random in every 2^columnLog.
func (s Spec) columns(kvHead int) []int {
	p, out := s.plan(K, 0, kvHead), []int{0}
	for first := 0; first < s.SeqLen; first += 1 << p.columnLog {
		if at := first + int(p.columnIn(uint32(first)>>p.columnLog)); at > 0 && at < s.SeqLen {
			out = append(out, at)
		}
	}
	return out
}

func (s Spec) blocks(kvHead int) []int {
	p := s.plan(K, 0, kvHead)
	out := make([]int, (s.SeqLen+BlockSize-1)/BlockSize)
	for i := range out {
		out[i] = int(p.codeOf(uint32(i * BlockSize)))
	}
	return out
}

// WriteHeads prints what each q head holds, a line each.
func (s Spec) WriteHeads(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "head\tkv head\tkind\tplanted\tfitting pattern")
	for i, h := range s.Heads() {
		fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\n", i, h.KVHead, h.Kind, h.Planted(), h.Fit)
	}
	return w.Flush()
}
