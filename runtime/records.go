package runtime

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// What is enqueued, as far as it is known before a call has its pointers: the arguments of every launch in one template, with a list of the
// places where addresses go. A run copies the template, patches it and launches.

// The pointers that addresses start from.
const (
	baseQ = iota
	baseK
	baseV
	baseO
	baseLSE
	baseWorkspace
	baseLengthsQ
	baseLengthsK
	baseOffsets
	baseStartsQ
	baseStartsK
	baseSpans
	baseSpanCount
	baseKeys
	baseKeyCount
	baseMass
	baseMassRows
	bases_
)

// record is one launch, or with no function the clearing of memory.
type record struct {
	name     string
	function device.Function
	launch   device.Launch
	spans    []span // of its arguments in the template
	patches  []patch
	maps     []mapPatch
	clears   patch // what is cleared
	bytes    int64
}

// span is a part of the template.
type span struct{ at, bytes int }

// patch is an address: pointer number base, and bytes from there on; null if the pointer is.
type patch struct {
	at    int // in the template
	base  int
	bytes int64
}

// mapPatch is a tensor map, whose address is a patch. What lies there is no map but a copy of it.
type mapPatch struct {
	patch
	tensor device.TensorMap // without its address
	name   string
}

// recorder collects records.
type recorder struct {
	dev      device.Device
	template []byte
	records  []record
}

// add makes records of actions of a call, whose kernels are among codes.
func (r *recorder) add(codes map[string]*loadedCode, x *boundCall, actions []ir.Action) error {
	for _, a := range actions {
		if a.Kernel == "" {
			r.clear(x.offset(a.To), a.Bytes)
			continue
		}
		code := codes[a.Kernel]
		err := error(nil)
		if code == nil {
			err = fmt.Errorf("internal: it is not loaded")
		} else {
			err = r.launch(code, code.Params, func(int) *boundCall { return x }, a, nil)
		}
		if err != nil {
			return fmt.Errorf("launch %s: %w", a.Kernel, err)
		}
	}
	return nil
}

// clear makes a record of the clearing of memory of the workspace.
func (r *recorder) clear(at, bytes int64) {
	r.records = append(r.records, record{name: "clear", clears: patch{base: baseWorkspace, bytes: at}, bytes: bytes})
}

// launch makes a record of one launch. callOf says whose call each argument is of, nil for one that nothing reads.
func (r *recorder) launch(code *loadedCode, params []artifact.Param, callOf func(i int) *boundCall, a ir.Action, rowHeads []byte) error {
	if a.Threads == 0 {
		a.Threads = int64(code.Threads)
	}
	rec := record{name: a.Kernel, function: code.function, launch: device.Launch{Block: [3]uint32{uint32(a.Threads), 1, 1}, SharedBytes: code.SharedBytes}}
	for i, n := range a.Grid {
		if n > math.MaxInt32 || i > 0 && n > maxGridYZ {
			return device.BadCall("the call needs a grid of %d by %d by %d blocks; split larger calls", a.Grid[0], a.Grid[1], a.Grid[2])
		}
		rec.launch.Grid[i] = uint32(n)
	}
	for i, p := range params {
		if p.Type == abi.RowHeadsType {
			copy(r.template[r.reserve(&rec, p):], rowHeads)
			continue
		}
		if err := r.argument(&rec, callOf(i), p, a.Args[i]); err != nil {
			return err
		}
	}
	r.records = append(r.records, rec)
	return nil
}

// argument puts the value of a parameter into the template.
func (r *recorder) argument(rec *record, x *boundCall, p artifact.Param, a ir.ActionArg) error {
	if p.Type == abi.MapType && x != nil {
		return r.tensorMap(rec, x, p)
	}
	at := r.reserve(rec, p)
	switch a.Kind {
	case ir.ArgAddress:
		if a.Address.Base != "" {
			base, bytes := x.patchOf(a.Address)
			rec.patches = append(rec.patches, patch{at, base, bytes})
		}
	case ir.ArgFloat:
		binary.LittleEndian.PutUint32(r.template[at:], math.Float32bits(x.floats[a.Float]/float32(a.By)))
	default:
		return r.number(at, p, a.Number)
	}
	return nil
}

// reserve is the place of a parameter's bytes in the template.
func (r *recorder) reserve(rec *record, p artifact.Param) (at int) {
	at = len(r.template)
	bytes := abi.ParamBytes[p.Type]
	rec.spans = append(rec.spans, span{at, bytes})
	r.template = append(r.template, make([]byte, (bytes+7)/8*8)...)
	return at
}

func (r *recorder) number(at int, p artifact.Param, n int64) error {
	if abi.ParamBytes[p.Type] == 8 {
		binary.LittleEndian.PutUint64(r.template[at:], uint64(n))
		return nil
	}
	if n < math.MinInt32 || n > math.MaxInt32 {
		what := p.Name
		if what == "items" {
			what = "row tiles in all heads"
		}
		return device.BadCall("the call has %d %s, want at most %d; split larger calls", n, what, math.MaxInt32)
	}
	binary.LittleEndian.PutUint32(r.template[at:], uint32(n))
	return nil
}

// patchOf is the pointer that an address starts from, and the bytes from there on.
func (x *boundCall) patchOf(a ir.Address) (base int, bytes int64) {
	switch a.Base {
	case "q":
		return baseQ, a.Bytes + x.bases.q
	case "k":
		return baseK, a.Bytes + x.bases.k
	case "v":
		return baseV, a.Bytes + x.bases.v
	case "o":
		return baseO, a.Bytes + x.bases.o
	case "lse":
		return baseLSE, a.Bytes + x.bases.lse
	}
	if base, is := ownBases[a.Base]; is {
		return base, a.Bytes
	}
	return baseWorkspace, x.offset(a)
}

// ownBases are the pointers of names that mean the same for all parts of a call. Records of lengths come first in the workspace.
var ownBases = map[string]int{
	"lengths": baseWorkspace, "seq_q": baseLengthsQ, "seq_k": baseLengthsK, "offsets": baseOffsets, "starts_q": baseStartsQ, "starts_k": baseStartsK,
	"spans": baseSpans, "span_count": baseSpanCount, "keys": baseKeys, "key_count": baseKeyCount, "mass": baseMass, "mass_rows": baseMassRows,
}

// tensorMap notes a map of a tensor, or of a copy in the workspace.
func (r *recorder) tensorMap(rec *record, x *boundCall, p artifact.Param) error {
	if _, ok := r.dev.(device.TensorMapper); !ok {
		return fmt.Errorf("%w: it takes tensor maps, which the driver %s cannot make", device.ErrUnsupported, r.dev.Info().Driver)
	}
	view, err := x.view(p.Tensor)
	if err != nil {
		return err
	}
	base, bytes := x.patchOf(view.from)
	at := r.reserve(rec, p)
	rec.maps = append(rec.maps, mapPatch{patch{at, base, bytes}, x.tensorMap(view, p.Box), p.Tensor})
	return nil
}

// scratch is the memory of one run: the template with addresses, and the commands whose arguments point into it. It keeps the addresses of
// its last run, since the next one has the same more often than not.
type scratch struct {
	bytes    []byte
	commands []device.Command // of every record
	bases    pointers
	patched  []bool // by record: its addresses start from bases
}

// recording is a list of records, immutable and safe for concurrent use.
type recording struct {
	dev      device.Device
	template []byte
	records  []record
	pool     sync.Pool // of *scratch
	maps     mapCache
}

func (r *recorder) finish() *recording {
	out := &recording{dev: r.dev, template: r.template, records: r.records}
	out.pool.New = func() any { return out.newScratch() }
	return out
}

func (r *recording) newScratch() *scratch {
	s := &scratch{bytes: slices.Clone(r.template), commands: make([]device.Command, len(r.records)), patched: make([]bool, len(r.records))}
	for i := range r.records {
		x, c := &r.records[i], &s.commands[i]
		c.Function, c.Launch, c.Bytes = x.function, x.launch, x.bytes
		for _, at := range x.spans {
			c.Args = append(c.Args, s.bytes[at.at:at.at+at.bytes])
		}
	}
	return s
}

// pointers are the addresses of a run by base.
type pointers [bases_]device.Ptr

func (p *pointers) at(x patch) device.Ptr {
	if p[x.base] == 0 {
		return 0
	}
	return p[x.base] + device.Ptr(x.bytes)
}

// run enqueues the records from number first up to end. It is safe for concurrent use, and allocates nothing once it has run as often at a
// time.
func (r *recording) run(s device.Stream, p pointers, first, end int) error {
	own := r.pool.Get().(*scratch)
	defer r.pool.Put(own)
	if own.bases != p {
		own.bases = p
		clear(own.patched)
	}
	for i := first; i < end; i++ { // all that can fail before the first launch
		if own.patched[i] {
			continue
		}
		if err := r.patch(own, i); err != nil {
			return err
		}
		own.patched[i] = true
	}
	if n, err := device.Enqueue(r.dev, own.commands[first:end], s); err != nil {
		return fmt.Errorf("launch %s: %w", r.records[min(first+n, end-1)].name, err)
	}
	return nil
}

func (r *recording) patch(own *scratch, n int) error {
	x, p := &r.records[n], &own.bases
	if x.function == nil {
		own.commands[n].Clear = p.at(x.clears)
	}
	for _, at := range x.patches {
		binary.LittleEndian.PutUint64(own.bytes[at.at:], uint64(p.at(at)))
	}
	for i := range x.maps {
		m := &x.maps[i]
		base := p.at(m.patch)
		if base == 0 { // a tensor without elements, which nothing reads
			base = p[baseQ]
		}
		encoded, err := r.maps.encode(r.dev.(device.TensorMapper), m, base)
		if err != nil {
			return fmt.Errorf("launch %s: %w", x.name, err)
		}
		copy(own.bytes[m.at:], encoded)
	}
	return nil
}

// mapCache remembers encoded tensor maps by the place of their parameter and their address.
type mapCache struct {
	sync.RWMutex
	encoded map[mapKey][]byte
}

type mapKey struct {
	at   int
	base device.Ptr
}

// mapsKept is how many maps are remembered: a server's tensors come back to the same places.
const mapsKept = 1024

func (c *mapCache) encode(dev device.TensorMapper, m *mapPatch, base device.Ptr) ([]byte, error) {
	key := mapKey{m.at, base}
	c.RLock()
	encoded := c.encoded[key]
	c.RUnlock()
	if encoded != nil {
		return encoded, nil
	}
	t := m.tensor
	t.Base = base
	encoded, err := encodeMap(dev, m.name, t)
	if err != nil {
		return nil, err
	}
	c.Lock()
	defer c.Unlock()
	if c.encoded == nil || len(c.encoded) >= mapsKept {
		c.encoded = map[mapKey][]byte{}
	}
	c.encoded[key] = encoded
	return encoded, nil
}
