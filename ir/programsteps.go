package ir

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// RouteElsewhere is the word of a head that takes no part, among the words that say which kernel computes a head.
const (
	RouteSparse    = 0 // the kernel of the pattern
	RouteDense     = 1 // the kernel of the pattern without sparsity
	RouteElsewhere = 2 // a kernel of another launch
)

// Routed says how the kernels of attention share the heads of a call.
type Routed struct {
	ByHead bool  // the words of heads count, and not only where some take no part
	Taken  int64 // the word of the heads that a kernel computes
}

// Part lists what a part enqueues, in order. Tensors that the program only points to need no memory yet.
func (b *BoundProgram) Part(name string, r Routed) ([]Action, error) {
	w := &stepWalk{BoundProgram: b, routed: r}
	env := maps.Clone(b.numbers)
	env["taken"] = r.Taken
	if err := w.steps(b.program.Part(name), env); err != nil {
		return nil, fmt.Errorf("part %s: %w", name, err)
	}
	return w.out, nil
}

// stepWalk collects the actions of a part.
type stepWalk struct {
	*BoundProgram
	routed Routed
	out    []Action
}

func (w *stepWalk) steps(steps []Step, env Env) error {
	for _, s := range steps {
		goes, err := w.step(s, env)
		if err != nil || !goes {
			return err
		}
	}
	return nil
}

// step does one step; goes is false where the rest of the loop's turn is left out.
func (w *stepWalk) step(s Step, env Env) (goes bool, err error) {
	switch s := s.(type) {
	case Let:
		env[s.Name], err = s.Expr.Eval(env)
	case For:
		err = w.loop(s, env)
	case Heads:
		first, n, err := evalTwo(s.First, s.N, env)
		return err == nil && w.takesPart(first, n), err
	case Zero:
		w.out = append(w.out, Action{To: w.At(s.Buffer), Bytes: w.extents[s.Buffer].Bytes})
	case Store:
		err = w.store(s)
	case Run:
		err = w.run(s, env)
	default:
		err = fmt.Errorf("unknown step %T", s)
	}
	return true, err
}

func evalTwo(a, b Expr, env Env) (x, y int64, err error) {
	if x, err = a.Eval(env); err == nil {
		y, err = b.Eval(env)
	}
	return x, y, err
}

func (w *stepWalk) loop(s For, env Env) error {
	end, by, err := evalTwo(s.End, s.By, env)
	if err == nil && by <= 0 {
		err = fmt.Errorf("the loop over %s goes on by %d, want more than 0", s.Var, by)
	}
	if err != nil {
		return err
	}
	inner := maps.Clone(env)
	for i := int64(0); i < end; i += by {
		inner[s.Var] = i
		if err := w.steps(s.Steps, inner); err != nil {
			return err
		}
	}
	return nil
}

// words are the rows of a store, 0 for heads that take no part, and the words of heads where some take no part.
func (w *stepWalk) words(s Store) ([]int32, error) {
	heads, rows := len(w.launch.Heads), s.Rows
	words := make([]int32, heads*len(rows))
	for i := range words {
		words[i] = rows[i/heads].As.encode(0)
	}
	err := w.eachHead(func(h int, own Env) error {
		for i, r := range rows {
			n, err := r.Expr.Eval(own)
			if err != nil {
				return err
			}
			at := i*heads + h
			if r.ByGroup {
				at = i*heads + h/w.group()
			}
			words[at] = r.As.encode(n)
		}
		return nil
	})
	if err != nil || !w.LeftOut() {
		return words, err
	}
	words = w.partWords(words, 1)
	if s.byGroup() {
		words = w.partWords(words, w.group())
	}
	return words, nil
}

// partWords adds a word for every so many q heads of each batch entry, which says whether one of them takes part.
func (w *stepWalk) partWords(words []int32, each int) []int32 {
	for range w.numbers["batch"] {
		for h := 0; h < len(w.launch.Heads); h += each {
			word := int32(RouteElsewhere)
			if w.takesPart(int64(h), int64(each)) {
				word = RouteSparse
			}
			words = append(words, word)
		}
	}
	return words
}

// group is how many q heads a kv head has.
func (w *stepWalk) group() int { return max(1, int(w.numbers["group"])) }

// encode is a number as a kernel wants it.
func (a Encoding) encode(n int64) int32 {
	switch a {
	case AsShare:
		return int32(min(n, 1000))
	case AsThreshold:
		threshold := float64(n) / 1e6
		below := float32(threshold)
		if float64(below) > threshold {
			below = math.Nextafter32(below, 0)
		}
		return int32(math.Float32bits(below)) + 1
	case AsFraction:
		return int32(math.Float32bits(float32(min(n, 1000)) / 1000))
	default:
		return int32(n)
	}
}

// store launches its kernel as often as the words need: it takes an address and two words in every 64-bit number.
func (w *stepWalk) store(s Store) error {
	words, err := w.words(s)
	if err != nil {
		return err
	}
	params, there := w.launch.Kernels(s.Kernel)
	if !there || len(params) < 2 {
		return fmt.Errorf("there is no kernel %s that stores words", s.Kernel)
	}
	to, each := w.At(s.Buffer), 2*(len(params)-1)
	for chunk := range slices.Chunk(words, each) {
		a := Action{Kernel: s.Kernel, Grid: [3]int64{1, 1, 1}, Args: make([]ActionArg, len(params))}
		a.Args[0] = ActionArg{Kind: ArgAddress, Address: to}
		for i, x := range chunk {
			a.Args[1+i/2].Number |= int64(uint64(uint32(x)) << (32 * (i % 2)))
		}
		w.out = append(w.out, a)
		to.Bytes += int64(4 * each)
	}
	return nil
}

func (w *stepWalk) run(s Run, env Env) (err error) {
	a := Action{Kernel: s.Kernel}
	if s.Variant != "" {
		a.Kernel = variantName(s.Kernel, env[s.Variant])
	}
	for i, e := range s.Grid {
		if a.Grid[i], err = e.Eval(env); err != nil {
			return fmt.Errorf("grid of %s: %w", s.Kernel, err)
		}
	}
	if min(a.Grid[0], a.Grid[1], a.Grid[2]) <= 0 {
		return nil
	}
	if s.Threads != nil {
		if a.Threads, err = s.Threads.Eval(env); err != nil {
			return fmt.Errorf("threads of %s: %w", s.Kernel, err)
		}
	}
	params, there := w.launch.Kernels(a.Kernel)
	if !there {
		return fmt.Errorf("there is no kernel %s", a.Kernel)
	}
	for _, p := range params {
		arg, err := w.argument(s, p, env)
		if err != nil {
			return fmt.Errorf("parameter %s of %s: %w", p.Name, a.Kernel, err)
		}
		a.Args = append(a.Args, arg)
	}
	if err := w.checkReach(s, params, a); err != nil {
		return fmt.Errorf("%s: %w", a.Kernel, err)
	}
	w.out = append(w.out, a)
	return nil
}

// argument is the value of a parameter: the listed one, or what has its name.
func (w *stepWalk) argument(s Run, p KernelParam, env Env) (ActionArg, error) {
	if p.Type == MapType || p.Type == RowHeadsType {
		return ActionArg{}, nil
	}
	a := s.arg(p)
	n, err := a.Expr.Eval(env)
	if err != nil {
		return ActionArg{}, err
	}
	switch a.Kind {
	case ArgAddress:
		at, err := w.Address(a.Of, w.routed)
		if at.Base != "" {
			at.Bytes += n
		}
		return ActionArg{Kind: ArgAddress, Address: at}, err
	case ArgFloat:
		return ActionArg{Kind: ArgFloat, Float: a.Of, By: n}, nil
	default:
		return ActionArg{Kind: a.Kind, Number: n}, nil
	}
}

// Argument is the value of a parameter that the program or its launch has by name, with some numbers more.
func (b *BoundProgram) Argument(p KernelParam, more Env, r Routed) (ActionArg, error) {
	w := &stepWalk{BoundProgram: b, routed: r}
	env := maps.Clone(b.numbers)
	maps.Copy(env, more)
	env["taken"] = r.Taken
	return w.argument(Run{}, p, env)
}

// arg is the listed argument of a parameter, or what has its name.
func (s Run) arg(p KernelParam) Arg {
	if i := slices.IndexFunc(s.Args, func(a Arg) bool { return a.Param == p.Name }); i >= 0 {
		return s.Args[i]
	}
	switch kind := argKinds[p.Type]; kind {
	case ArgNumber:
		return NumberArg(p.Name, Name(p.Name))
	case ArgFloat:
		return FloatArg(p.Name, p.Name, 1)
	default:
		return AddressArg(p.Name, p.Name, N(0))
	}
}

// argKinds are the kinds of arguments that parameters of each type take.
var argKinds = map[string]ArgKind{"ptr": ArgAddress, "i32": ArgNumber, "i64": ArgNumber, "f32": ArgFloat}

// tensorNames are the bases that are memory of the caller.
var tensorNames = []string{"q", "k", "v", "o", "lse", "seq_q", "seq_k", "offsets", "starts_q", "starts_k", "lengths",
	"spans", "span_count", "keys", "key_count", "mass", "mass_rows"}

// Address is where a name points to.
func (b *BoundProgram) Address(of string, r Routed) (Address, error) {
	switch {
	case slices.Contains(tensorNames, of):
		return Address{Base: of}, nil
	case (of == "heads" || of == "groups") && !b.LeftOut(), of == "route" && !b.LeftOut() && !r.ByHead:
		return Address{}, nil
	case of == "heads", of == "route":
		return b.headWords()
	case of == "groups":
		at, err := b.headWords()
		at.Bytes += 4 * b.numbers["batch"] * int64(len(b.launch.Heads))
		return at, err
	}
	if _, there := b.extents[of]; !there {
		return Address{}, fmt.Errorf("there is no buffer %s", of)
	}
	return b.At(of), nil
}

// headWords is where the words of heads lie: behind the rows that the program stores.
func (b *BoundProgram) headWords() (Address, error) {
	for _, s := range b.program.Part(PartNumbers) {
		if s, ok := s.(Store); ok {
			at := b.At(s.Buffer)
			at.Bytes += int64(4 * len(s.Rows) * len(b.launch.Heads))
			return at, nil
		}
	}
	return Address{}, fmt.Errorf("the program stores no words of heads")
}

// checkReach checks that no buffer is smaller than its reader or writer says.
func (w *stepWalk) checkReach(s Run, params []KernelParam, a Action) error {
	var env Env
	for i, p := range params {
		at, extent := a.Args[i].Address, w.extents[s.arg(p).Of]
		if p.Reads == nil && p.Writes == nil || at.Base == "" || extent == (Extent{}) {
			continue
		}
		if env == nil {
			env = a.numbers(params)
			env["head_dim"] = w.numbers["head_dim"]
		}
		room := extent.Offset + extent.Bytes - at.Bytes
		for _, e := range []*Expr{p.Reads, p.Writes} {
			if e == nil {
				continue
			}
			n, err := e.Eval(env)
			if err == nil && n > room {
				err = fmt.Errorf("there are %d bytes, the kernel uses %d", room, n)
			}
			if err != nil {
				return fmt.Errorf("parameter %s: %w", p.Name, err)
			}
		}
	}
	return nil
}

// numbers are what sizes of buffers are said in: integer parameters and the grid.
func (a Action) numbers(params []KernelParam) Env {
	env := Env{"grid_x": a.Grid[0], "grid_y": a.Grid[1], "grid_z": a.Grid[2]}
	for i, p := range params {
		if a.Args[i].Kind == ArgNumber {
			env[p.Name] = a.Args[i].Number
		}
	}
	return env
}
