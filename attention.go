package minfc

import (
	"errors"
	"fmt"
	"sync"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// Spec says what the heads of an attention compute: one pattern for all of them, or a layer of a head plan.
type Spec struct {
	Pattern string           // a pattern of the library, or of Source
	Source  string           // patterns in the language, instead of the library's
	Params  map[string]int64 // of the pattern; what is left out has its default
	Plan    *plan.Plan       // instead of all of the above
	Layer   int              // of the plan
	Given   Given            // instead of all of the above: the caller gives lists with each call
}

// Given says which keys of the lists that the caller gives count (docs/given.md has the lists).
type Given string

const (
	GivenCausal Given = "causal" // keys up to the query's own position
	GivenFull   Given = "full"   // all of them
)

// loadGiven is the pattern for such lists.
func (s Spec) loadGiven() (*compile.Program, error) {
	switch {
	case s.Pattern != "" || s.Source != "" || s.Plan != nil || s.Layer != 0 || len(s.Params) > 0:
		return nil, fmt.Errorf("the spec says that lists are given, and has a pattern, parameters or a plan as well, want one of them")
	case s.Given != GivenCausal && s.Given != GivenFull:
		return nil, fmt.Errorf("the spec says that lists are given %q, want %q or %q", s.Given, GivenCausal, GivenFull)
	}
	return compile.Given(s.Given == GivenCausal), nil
}

// Heads are the query heads and the kv heads of a layer, each of Dim elements of a type.
type Heads struct {
	Q, KV int
	Dim   int // a multiple of 16 from 16 to 256
	DType abi.DType
}

// Shape, Pointers and Call are the three parts of a run; package runtime has their methods.
type (
	Shape    = runtime.Shape
	Pointers = runtime.Pointers
	Call     = runtime.Prepared
)

// Attention is compiled for a device and loaded there. It is safe for concurrent use until Close.
type Attention struct {
	dev   device.Device
	spec  Spec
	heads Heads
	inShape
	byLengths struct { // compiled when a call asks for it first
		sync.Mutex
		loaded *runtime.Loaded
	}
	recall loadedRecall // the same for recalls
}

// inShape is what was compiled for lengths that are in the shape of a call.
type inShape struct {
	loaded *runtime.Loaded
	parts  []runtime.Part
}

// NewAttention compiles what spec says for the newest target that the device runs, and loads it. It takes tenths of a second, and seconds
// in the GPU's driver, unless it was done before and is in the cache (docs/embedding.md). Do it once, at start-up. Errors of a pattern's text
// are a *dsl.Error; others wrap the kinds of packages device and artifact.
func NewAttention(dev device.Device, spec Spec, heads Heads) (*Attention, error) {
	loaded, err := load(dev, spec, heads, false)
	if err != nil {
		return nil, err
	}
	return &Attention{dev: dev, spec: spec, heads: heads, inShape: loaded}, nil
}

// load compiles a spec and loads it; lengths says that calls have their lengths in device memory.
func load(dev device.Device, spec Spec, heads Heads, lengths bool) (inShape, error) {
	target, _, err := compile.TargetOn(dev.Info())
	if err != nil {
		return inShape{}, err
	}
	opts := compile.Options{Target: target, DType: heads.DType, HeadDim: heads.Dim, Lengths: lengths}
	if spec.Plan != nil && spec.Given == "" {
		return loadLayer(dev, spec, heads, opts)
	}
	p, err := spec.load()
	if err != nil {
		return inShape{}, err
	}
	part := runtime.Part{Params: map[string]int64{}}
	consts := p.Pattern.ValuesAt(ir.BindConst, spec.Params)
	for name, v := range spec.Params {
		if _, is := consts[name]; !is {
			part.Params[name] = v // unknown names too: the runtime refuses them
		}
	}
	art, err := cached(keyOf(p, consts, opts), func() (*artifact.Artifact, error) { return p.With(consts).Compile(opts, nil) })
	if err != nil {
		return inShape{}, err
	}
	loaded, err := runtime.Load(dev, art, artifact.Select{Lengths: lengths})
	return inShape{loaded, []runtime.Part{part}}, err
}

func (s Spec) load() (*compile.Program, error) {
	if s.Given != "" {
		return s.loadGiven()
	}
	if s.Source == "" {
		return compile.LoadLibrary(s.Pattern)
	}
	return compile.Load("spec", []byte(s.Source), s.Pattern, nil)
}

// loadLayer is load for a layer of a head plan.
func loadLayer(dev device.Device, spec Spec, heads Heads, opts compile.Options) (inShape, error) {
	if spec.Pattern != "" || spec.Source != "" || len(spec.Params) > 0 {
		return inShape{}, fmt.Errorf("the spec has a plan and a pattern, want one of them")
	}
	layer, _, err := spec.Plan.Assign(spec.Layer, heads.Q)
	if err != nil {
		return inShape{}, err
	}
	key, err := keyOfPlan(layer, opts)
	if err != nil {
		return inShape{}, err
	}
	art, err := cached(key, func() (*artifact.Artifact, error) { return compile.Plan([][]plan.Head{layer}, nil, opts, nil) })
	if err != nil {
		return inShape{}, err
	}
	kernels, err := plan.Load(dev, art, artifact.Select{Lengths: opts.Lengths})
	if err != nil {
		return inShape{}, err
	}
	bound, err := kernels.Bind(layer)
	if err != nil {
		return inShape{}, errors.Join(err, kernels.Close())
	}
	return inShape{kernels.Loaded, bound.Parts()}, nil
}

// Prepare checks a call and computes all that does not depend on its pointers; see [runtime.Loaded.Prepare]. A shape without heads has the
// numbers of heads that NewAttention was given. Lengths in device memory are for other kernels, which the first call of that kind compiles and
// loads, as NewAttention did: prepare one at start-up.
func (a *Attention) Prepare(s Shape) (*Call, error) { return a.PrepareHeads(s, nil) }

// PrepareHeads is Prepare for some query heads of the layer, ascending; nil: all. The tensors are the layer's, and the other heads' share of
// them is not touched.
func (a *Attention) PrepareHeads(s Shape, heads []int) (*Call, error) {
	if s.QHeads == 0 && s.KVHeads == 0 {
		s.QHeads, s.KVHeads = a.heads.Q, a.heads.KV
	}
	if s.QHeads != a.heads.Q || s.KVHeads != a.heads.KV {
		return nil, device.BadCall("the shape has %d query heads and %d kv heads, the attention was made for %d and %d", s.QHeads, s.KVHeads, a.heads.Q, a.heads.KV)
	}
	parts, err := a.partsOf(heads)
	if err != nil {
		return nil, err
	}
	if s.Lengths == runtime.InShape {
		return a.loaded.Prepare(s, parts...)
	}
	if a.spec.Given != "" {
		return nil, device.BadCall("%w", compile.ErrGivenLengths)
	}
	loaded, err := a.lengths()
	if err != nil {
		return nil, err
	}
	return loaded.Prepare(s, parts...)
}

// partsOf are the parts of some heads.
func (a *Attention) partsOf(heads []int) ([]runtime.Part, error) {
	if heads == nil {
		return a.parts, nil
	}
	for i, h := range heads {
		if h < 0 || h >= a.heads.Q || i > 0 && h <= heads[i-1] {
			return nil, device.BadCall("the heads are %v, want ascending ones from 0 to %d", heads, a.heads.Q-1)
		}
	}
	var out []runtime.Part
	for _, p := range a.parts {
		if own, some := p.Only(heads); some {
			out = append(out, own)
		}
	}
	if len(out) == 0 {
		return nil, device.BadCall("the call has no heads")
	}
	return out, nil
}

// lengths is what was loaded for lengths in device memory. What is wrong with it is wrong with every call of that kind, and is asked again.
func (a *Attention) lengths() (*runtime.Loaded, error) {
	a.byLengths.Lock()
	defer a.byLengths.Unlock()
	if a.byLengths.loaded == nil {
		own, err := load(a.dev, a.spec, a.heads, true)
		if err != nil {
			return nil, err
		}
		a.byLengths.loaded = own.loaded
	}
	return a.byLengths.loaded, nil
}

// Parts are the heads by pattern and parameters, as Prepare gives them to what was loaded. They must not be changed.
func (a *Attention) Parts() []runtime.Part { return a.parts }

// Loaded is what was loaded: its patterns, and its target.
func (a *Attention) Loaded() *runtime.Loaded { return a.loaded }

// Close gives the kernels back. Runs must have ended.
func (a *Attention) Close() error {
	err := errors.Join(a.loaded.Close(), a.recall.close())
	a.byLengths.Lock()
	defer a.byLengths.Unlock()
	if a.byLengths.loaded != nil {
		err = errors.Join(err, a.byLengths.loaded.Close())
	}
	return err
}
