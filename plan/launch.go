package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
)

// Use is a pattern that heads of a model need, compiled with values of its const parameters.
type Use struct {
	Pattern *ir.Pattern
	Consts  map[string]int64 // values of all const parameters
	Copies  int              // the most sets of launch parameters, budgets aside, that heads of one layer have, up to some
}

// Sets of parameters of one pattern that a launch is made for; a layer with more takes more launches. Patterns that the data decides
// have code of their own for each, others some bytes of parameters.
const (
	maxCopies     = 8
	maxListCopies = 2
)

// Uses lists the patterns that the heads of some layers need, in the order of their first heads: those of a layer that are to run
// in one launch.
func Uses(layers ...[]Head) ([]Use, error) {
	var out []Use
	for _, heads := range layers {
		sets := map[int][]map[string]int64{} // of each use, in this layer
		for h, head := range heads {
			values, err := head.Values()
			if err != nil {
				return nil, fmt.Errorf("head %d: %w", h, err)
			}
			i := slices.IndexFunc(out, func(u Use) bool { return u.Pattern == head.Pattern && maps.Equal(u.Consts, head.consts(values)) })
			if i < 0 {
				i, out = len(out), append(out, Use{head.Pattern, head.consts(values), 1})
			}
			set := head.launchSet(values)
			if !slices.ContainsFunc(sets[i], func(x map[string]int64) bool { return maps.Equal(x, set) }) {
				sets[i] = append(sets[i], set)
			}
			out[i].Copies = max(out[i].Copies, min(len(sets[i]), most(head.Pattern)))
		}
	}
	return out, nil
}

func most(p *ir.Pattern) int {
	if len(p.Index) > 0 {
		return maxListCopies
	}
	return maxCopies
}

func (h Head) consts(values map[string]int64) map[string]int64 {
	return bound(h.Pattern, values, ir.BindConst)
}

// launchSet are the launch parameters that are no budgets.
func (h Head) launchSet(values map[string]int64) map[string]int64 {
	set := bound(h.Pattern, values, ir.BindLaunch)
	for _, d := range h.Pattern.Index {
		if s, ok := d.Value.(ir.Select); ok {
			for _, name := range s.N.Vars() {
				delete(set, name)
			}
		}
	}
	return set
}

// bound are the values of the parameters that are known at the same time.
func bound(p *ir.Pattern, values map[string]int64, when ir.Binding) map[string]int64 {
	out := map[string]int64{}
	for _, q := range p.Params {
		if q.Binding == when {
			out[q.Name] = values[q.Name]
		}
	}
	return out
}

// Kernels are the compiled patterns of a head plan on a device; all layers share them. They are safe for concurrent use until Close.
type Kernels struct {
	groups   *runtime.LoadedGroups
	patterns []string // of the members, as text
}

// Load loads the patterns of a head plan, compiled by minfc.CompileGroup. Errors are those of runtime.LoadGroups.
func Load(dev runtime.Device, a *runtime.Artifact, sel runtime.Select) (*Kernels, error) {
	groups, err := runtime.LoadGroups(dev, a, sel)
	if err != nil {
		return nil, err
	}
	k := &Kernels{groups: groups}
	for _, m := range a.Manifest.Members {
		k.patterns = append(k.patterns, m.Pattern)
	}
	return k, nil
}

// Close unloads the kernels. Launches must have ended.
func (k *Kernels) Close() error { return k.groups.Close() }

// member is the number of the pattern that a head runs.
func (k *Kernels) member(h Head, values map[string]int64) (int, error) {
	baked := *h.Pattern
	baked.Params = slices.Clone(baked.Params)
	for i, p := range baked.Params {
		if p.Binding == ir.BindConst {
			baked.Params[i].Default = values[p.Name]
		}
	}
	if i := slices.Index(k.patterns, baked.String()); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%s is not among the patterns that were compiled; compile the plan again", h)
}

// Launcher runs the heads of a layer. It is safe for concurrent use until its kernels are closed.
type Launcher struct {
	kernels *Kernels
	heads   []planned
	groups  [][]int // heads that have one index stage
}

// planned is a head with its pattern.
type planned struct {
	member        int
	kernel        *runtime.LoadedKernel
	fixed, ragged map[string]int64 // launch parameters: the same for a whole piece, and budgets that may differ by head
}

// Bind returns what runs the heads of a layer.
func (k *Kernels) Bind(heads []Head) (*Launcher, error) {
	l := &Launcher{kernels: k}
	for h, head := range heads {
		values, err := head.Values()
		if err != nil {
			return nil, fmt.Errorf("head %d: %w", h, err)
		}
		x := planned{fixed: bound(head.Pattern, values, ir.BindLaunch), ragged: map[string]int64{}}
		if x.member, err = k.member(head, values); err != nil {
			return nil, fmt.Errorf("head %d: %w", h, err)
		}
		x.kernel = k.groups.Members()[x.member]
		for _, name := range x.kernel.HeadParams() {
			x.ragged[name] = x.fixed[name]
			delete(x.fixed, name)
		}
		l.heads = append(l.heads, x)
	}
	l.groups = l.alike()
	return l, nil
}

// Kernel says what query head h runs: its checks, schedule and cover. It cannot be launched by itself.
func (l *Launcher) Kernel(h int) *runtime.LoadedKernel { return l.heads[h].kernel }

// Info is the entry of the first head's kernel; head dim and data type are those of all.
func (l *Launcher) Info() runtime.Kernel { return l.heads[0].kernel.Info() }

// Piece is the heads that run one pattern with the same parameters, budgets aside: they share an index stage.
type Piece struct {
	Heads  []int // that it computes, ascending
	First  int   // the head of the whole call that is the first of Call, which leaves heads between its own ones out
	Kernel *runtime.LoadedKernel
	Call   runtime.Attention
	member int
}

// Pieces cuts a call up, in the order of their first heads. No two compute the same head. Their calls have no workspace: it is that
// of the whole call.
func (l *Launcher) Pieces(a runtime.Attention) ([]Piece, error) {
	if err := l.checkCall(a); err != nil {
		return nil, err
	}
	l.fillStrides(&a)
	var out []Piece
	for _, heads := range l.groups {
		out = append(out, l.piece(a, heads))
	}
	return out, nil
}

// String is the pattern and the parameters that all heads of the piece have in common: "a_shape sink=128 window=1024".
func (p Piece) String() string {
	var b strings.Builder
	b.WriteString(p.Kernel.Schedule().Name)
	for _, q := range p.Kernel.Schedule().Params {
		if v, same := p.Call.Params[q.Name]; same {
			fmt.Fprintf(&b, " %s=%d", q.Name, v)
		}
	}
	return b.String()
}

func (p Piece) part() runtime.Part {
	return runtime.Part{Member: p.member, Head0: p.First, Call: p.Call, Label: ListHeads(p.Heads)}
}

// ListHeads words ascending head numbers: "head 3", "heads 0-2, 5".
func ListHeads(heads []int) string {
	var parts []string
	for i := 0; i < len(heads); {
		n := 1
		for i+n < len(heads) && heads[i+n] == heads[i]+n {
			n++
		}
		part := fmt.Sprint(heads[i])
		if n > 1 {
			part = fmt.Sprintf("%d-%d", heads[i], heads[i]+n-1)
		}
		parts, i = append(parts, part), i+n
	}
	word := "heads"
	if len(heads) == 1 {
		word = "head"
	}
	return word + " " + strings.Join(parts, ", ")
}

// checkCall checks what pieces are cut by; the kernels check the rest.
func (l *Launcher) checkCall(a runtime.Attention) error {
	switch {
	case a.QHeads != len(l.heads):
		return fmt.Errorf("%w: QHeads is %d, the plan was made for %d", runtime.ErrBadCall, a.QHeads, len(l.heads))
	case a.KVHeads < 1 || a.QHeads%a.KVHeads != 0:
		return fmt.Errorf("%w: QHeads is %d and KVHeads %d, want QHeads to be a multiple of KVHeads", runtime.ErrBadCall, a.QHeads, a.KVHeads)
	case len(a.Params) > 0 || len(a.HeadParams) > 0 || len(a.Heads) > 0:
		return fmt.Errorf("%w: Params, HeadParams or Heads are set, but the plan has the parameters of every head", runtime.ErrBadCall)
	}
	return nil
}

// fillStrides writes the strides of contiguous tensors down: pieces are not contiguous.
func (l *Launcher) fillStrides(a *runtime.Attention) {
	fill := func(t *runtime.Tensor, heads, rows int) {
		if t.BatchStride == 0 && t.HeadStride == 0 && t.RowStride == 0 {
			t.RowStride = int64(l.Info().HeadDim)
			t.HeadStride = t.RowStride * int64(rows)
			t.BatchStride = t.HeadStride * int64(heads)
		}
	}
	fill(&a.Q, a.QHeads, a.SeqQ)
	fill(&a.O, a.QHeads, a.SeqQ)
	fill(&a.K, a.KVHeads, a.SeqK)
	fill(&a.V, a.KVHeads, a.SeqK)
	if a.LSEBatchStride == 0 && a.LSEHeadStride == 0 {
		a.LSEHeadStride = int64(a.SeqQ)
		a.LSEBatchStride = a.LSEHeadStride * int64(a.QHeads)
	}
}

// alike groups the heads that one piece takes.
func (l *Launcher) alike() (groups [][]int) {
	for h, x := range l.heads {
		i := slices.IndexFunc(groups, func(g []int) bool { return l.heads[g[0]].joins(x) })
		if i < 0 {
			i, groups = len(groups), append(groups, nil)
		}
		groups[i] = append(groups[i], h)
	}
	return groups
}

func (h planned) joins(o planned) bool { return h.kernel == o.kernel && maps.Equal(h.fixed, o.fixed) }

const (
	elementBytes = 2 // of tensors
	lseBytes     = 4
)

// piece is that of some heads. Its call spans the kv heads from the first one's to the last one's, or the heads from the
// first to the last where these share a kv head: a launch has the same number of query heads to every kv head.
func (l *Launcher) piece(a runtime.Attention, heads []int) Piece {
	group := a.QHeads / a.KVHeads
	first, end := heads[0], heads[len(heads)-1]+1
	if first/group != (end-1)/group {
		first, end = first/group*group, (end+group-1)/group*group
	}
	x := l.heads[heads[0]]
	p := Piece{heads, first, x.kernel, span(a, first, end-first, group), x.member}
	p.Call.Params = l.heads[heads[0]].fixed
	if len(heads) < end-first {
		p.Call.Heads = make([]bool, end-first)
		for _, h := range heads {
			p.Call.Heads[h-first] = true
		}
	}
	for name := range l.heads[heads[0]].ragged {
		if p.Call.HeadParams == nil {
			p.Call.HeadParams = map[string][]int64{}
		}
		values := make([]int64, end-first)
		for _, h := range heads {
			values[h-first] = l.heads[h].ragged[name]
		}
		p.Call.HeadParams[name] = values
	}
	return p
}

// span is the part of a for n heads from first on, without parameters and workspace.
func span(a runtime.Attention, first, n, group int) runtime.Attention {
	head := func(t *runtime.Tensor, h int) { t.Ptr += runtime.DevicePtr(elementBytes * t.HeadStride * int64(h)) }
	head(&a.Q, first)
	head(&a.O, first)
	head(&a.K, first/group)
	head(&a.V, first/group)
	if a.LSE != 0 {
		a.LSE += runtime.DevicePtr(lseBytes * a.LSEHeadStride * int64(first))
	}
	a.QHeads, a.KVHeads = n, max(1, n/group)
	a.Workspace, a.WorkspaceBytes = 0, 0
	return a
}

// Workspace returns how many bytes of device memory a launch needs beside its tensors; see runtime.LoadedGroups.Workspace.
func (l *Launcher) Workspace(a runtime.Attention) (int64, error) {
	parts, err := l.parts(a)
	if err != nil {
		return 0, err
	}
	return l.kernels.groups.Workspace(parts)
}

// Check says what Launch would say of the call, and enqueues nothing.
func (l *Launcher) Check(a runtime.Attention) error {
	parts, err := l.parts(a)
	if err != nil {
		return err
	}
	return l.kernels.groups.Check(a, parts)
}

// Launches is how many launches the attention of all heads takes, index stages aside: one, unless heads of one pattern have more
// sets of parameters than the kernels were compiled for.
func (l *Launcher) Launches(a runtime.Attention) (int, error) {
	parts, err := l.parts(a)
	if err != nil {
		return 0, err
	}
	return l.kernels.groups.Launches(parts)
}

func (l *Launcher) parts(a runtime.Attention) (out []runtime.Part, err error) {
	pieces, err := l.Pieces(a)
	for _, p := range pieces {
		out = append(out, p.part())
	}
	return out, err
}

// Launch enqueues the index stages of all pieces and then the attention of all heads, in one launch, on a stream (nil: the
// default stream) and returns, under the conditions of runtime.LoadedKernel.Launch. When the call is at fault nothing was enqueued.
func (l *Launcher) Launch(s runtime.Stream, a runtime.Attention) error {
	parts, err := l.parts(a)
	if err != nil {
		return err
	}
	return l.kernels.groups.Launch(s, a, parts)
}

// ReadChosen waits for the stream and reads what the last launch of a chose, [Batch * QHeads], nil if no head depends on
// data; the choices of heads that do not are empty.
func (l *Launcher) ReadChosen(dev runtime.Device, s runtime.Stream, a runtime.Attention) ([]runtime.Chosen, error) {
	pieces, err := l.Pieces(a)
	if err != nil {
		return nil, err
	}
	parts, err := l.parts(a)
	if err != nil {
		return nil, err
	}
	chosen, err := l.kernels.groups.ReadChosen(dev, s, a, parts)
	if err != nil {
		return nil, err
	}
	out := make([]runtime.Chosen, a.Batch*a.QHeads)
	for h := range out {
		out[h] = runtime.Chosen{Asked: &ir.Selection{QOffset: a.QOffset}, Kept: &ir.Selection{QOffset: a.QOffset}}
	}
	some := false
	for i, p := range pieces {
		some = some || len(chosen[i]) > 0
		for batch := range min(a.Batch, len(chosen[i])) {
			for _, h := range p.Heads {
				out[batch*a.QHeads+h] = chosen[i][batch*p.Call.QHeads+h-p.First]
			}
		}
	}
	if !some {
		return nil, nil
	}
	return out, nil
}
