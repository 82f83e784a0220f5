package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
)

// Use is a kernel that heads of a layer need: a pattern compiled with values of its const parameters.
type Use struct {
	Pattern *ir.Pattern
	Consts  map[string]int64 // values of all const parameters
	Heads   []int            // that run it
}

// Uses lists the kernels that the heads need, in the order of their first heads.
func Uses(heads []Head) ([]Use, error) {
	var out []Use
	for h, head := range heads {
		values, err := head.Values()
		if err != nil {
			return nil, fmt.Errorf("head %d: %w", h, err)
		}
		consts := bound(head.Pattern, values, ir.BindConst)
		i := slices.IndexFunc(out, func(u Use) bool { return u.Pattern == head.Pattern && maps.Equal(u.Consts, consts) })
		if i < 0 {
			i, out = len(out), append(out, Use{Pattern: head.Pattern, Consts: consts})
		}
		out[i].Heads = append(out[i].Heads, h)
	}
	return out, nil
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

// Launcher runs the heads of a layer. It is safe for concurrent use until Close.
type Launcher struct {
	heads   []planned
	kernels []*runtime.LoadedKernel
}

// planned is a head with its kernel.
type planned struct {
	kernel        *runtime.LoadedKernel
	fixed, ragged map[string]int64 // launch parameters: the same for a whole launch, and budgets that may differ by head
}

// Bind loads the kernels that the heads need, each once, and returns what runs them. All kernels must be for one head dim
// and data type. The launcher owns the kernels; when Bind fails it has closed them.
func Bind(heads []Head, load func(u Use) (*runtime.LoadedKernel, error)) (*Launcher, error) {
	uses, err := Uses(heads)
	if err != nil {
		return nil, err
	}
	l := &Launcher{heads: make([]planned, len(heads))}
	for _, u := range uses {
		k, err := load(u)
		if err == nil {
			l.kernels = append(l.kernels, k)
			err = l.bind(heads, u, k)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", u.Pattern.Name, err), l.Close())
		}
	}
	return l, nil
}

func (l *Launcher) bind(heads []Head, u Use, k *runtime.LoadedKernel) error {
	first, info := l.kernels[0].Info(), k.Info()
	if first.HeadDim != info.HeadDim || first.DType != info.DType {
		return fmt.Errorf("the kernel is for head dim %d and %s, another head's is for %d and %s", info.HeadDim, info.DType, first.HeadDim, first.DType)
	}
	budgets := k.HeadParams()
	for _, h := range u.Heads {
		values, err := heads[h].Values()
		if err != nil {
			return err
		}
		x := planned{kernel: k, fixed: bound(u.Pattern, values, ir.BindLaunch), ragged: map[string]int64{}}
		for _, name := range budgets {
			x.ragged[name] = x.fixed[name]
			delete(x.fixed, name)
		}
		l.heads[h] = x
	}
	return nil
}

// Close unloads the kernels. Launches must have ended.
func (l *Launcher) Close() error {
	var errs []error
	for _, k := range l.kernels {
		errs = append(errs, k.Close())
	}
	return errors.Join(errs...)
}

// Kernel returns what query head h runs.
func (l *Launcher) Kernel(h int) *runtime.LoadedKernel { return l.heads[h].kernel }

// Info is the entry of the first head's kernel; head dim and data type are those of all.
func (l *Launcher) Info() runtime.Kernel { return l.heads[0].kernel.Info() }

// Piece is one launch: the query heads from First on, as a call of their own.
type Piece struct {
	First  int
	Kernel *runtime.LoadedKernel
	Call   runtime.Attention
}

// Pieces cuts a call into launches: one for each run of neighbouring heads that run one kernel with the same parameters,
// budgets aside. A run that begins or ends inside the heads of a kv head is cut there, because a launch has the same number
// of query heads to every kv head. The workspaces of the pieces lie one behind the other, if the call has one.
func (l *Launcher) Pieces(a runtime.Attention) ([]Piece, error) {
	if err := l.checkCall(a); err != nil {
		return nil, err
	}
	l.fillStrides(&a)
	group := a.QHeads / a.KVHeads
	var out []Piece
	used := int64(0)
	for first := 0; first < a.QHeads; {
		n := l.run(first, group)
		p := Piece{first, l.heads[first].kernel, l.call(a, first, n, group)}
		bytes, err := p.Kernel.Workspace(p.Call)
		if err != nil {
			return nil, p.wrap(err)
		}
		if bytes > 0 && a.Workspace != 0 {
			p.Call.Workspace, p.Call.WorkspaceBytes = a.Workspace+runtime.DevicePtr(used), max(0, a.WorkspaceBytes-used)
		}
		used += roundUp(bytes)
		out, first = append(out, p), first+n
	}
	return out, nil
}

// workspaceAlign is the alignment that kernels ask of a workspace, in bytes.
const workspaceAlign = 256

func roundUp(bytes int64) int64 {
	return (bytes + workspaceAlign - 1) / workspaceAlign * workspaceAlign
}

func (p Piece) wrap(err error) error {
	if err == nil {
		return nil
	}
	if p.Call.QHeads == 1 {
		return fmt.Errorf("head %d: %w", p.First, err)
	}
	return fmt.Errorf("heads %d to %d: %w", p.First, p.First+p.Call.QHeads-1, err)
}

// checkCall checks what pieces are cut by; the kernels check the rest.
func (l *Launcher) checkCall(a runtime.Attention) error {
	switch {
	case a.QHeads != len(l.heads):
		return fmt.Errorf("%w: QHeads is %d, the plan was made for %d", runtime.ErrBadCall, a.QHeads, len(l.heads))
	case a.KVHeads < 1 || a.QHeads%a.KVHeads != 0:
		return fmt.Errorf("%w: QHeads is %d and KVHeads %d, want QHeads to be a multiple of KVHeads", runtime.ErrBadCall, a.QHeads, a.KVHeads)
	case len(a.Params) > 0 || len(a.HeadParams) > 0:
		return fmt.Errorf("%w: Params or HeadParams are set, but the plan has the parameters of every head", runtime.ErrBadCall)
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

// run is how many heads from first on one launch takes.
func (l *Launcher) run(first, group int) int {
	n := 1
	for first+n < len(l.heads) && l.heads[first].joins(l.heads[first+n]) {
		n++
	}
	if inside := first % group; inside > 0 || n < group {
		return min(n, group-inside) // the rest of one kv head, or a part of it
	}
	return n / group * group
}

func (h planned) joins(o planned) bool { return h.kernel == o.kernel && maps.Equal(h.fixed, o.fixed) }

const (
	elementBytes = 2 // of tensors
	lseBytes     = 4
)

// call is the part of a for n heads from first on.
func (l *Launcher) call(a runtime.Attention, first, n, group int) runtime.Attention {
	head := func(t *runtime.Tensor, h int) { t.Ptr += runtime.DevicePtr(elementBytes * t.HeadStride * int64(h)) }
	head(&a.Q, first)
	head(&a.O, first)
	head(&a.K, first/group)
	head(&a.V, first/group)
	if a.LSE != 0 {
		a.LSE += runtime.DevicePtr(lseBytes * a.LSEHeadStride * int64(first))
	}
	a.QHeads, a.KVHeads = n, max(1, n/group)
	a.Params, a.HeadParams = l.heads[first].fixed, nil
	for name := range l.heads[first].ragged {
		if a.HeadParams == nil {
			a.HeadParams = map[string][]int64{}
		}
		for _, h := range l.heads[first : first+n] {
			a.HeadParams[name] = append(a.HeadParams[name], h.ragged[name])
		}
	}
	a.Workspace, a.WorkspaceBytes = 0, 0
	return a
}

// Workspace returns how many bytes of device memory a launch needs beside its tensors; see runtime.LoadedKernel.Workspace.
func (l *Launcher) Workspace(a runtime.Attention) (int64, error) {
	pieces, err := l.Pieces(a)
	if err != nil {
		return 0, err
	}
	sum := int64(0)
	for _, p := range pieces {
		bytes, err := p.Kernel.Workspace(p.Call)
		if err != nil {
			return 0, p.wrap(err)
		}
		sum += roundUp(bytes)
	}
	return sum, nil
}

// Check says what Launch would say of the call, and enqueues nothing.
func (l *Launcher) Check(a runtime.Attention) error {
	_, err := l.checked(a)
	return err
}

func (l *Launcher) checked(a runtime.Attention) ([]Piece, error) {
	pieces, err := l.Pieces(a)
	if err != nil {
		return nil, err
	}
	for _, p := range pieces {
		if err := p.Kernel.Check(p.Call); err != nil {
			return nil, p.wrap(err)
		}
	}
	return pieces, nil
}

// Launch enqueues the attention of all heads on a stream (nil: the default stream) and returns, under the conditions of
// runtime.LoadedKernel.Launch. When the call is at fault nothing was enqueued.
func (l *Launcher) Launch(s runtime.Stream, a runtime.Attention) error {
	pieces, err := l.checked(a)
	if err != nil {
		return err
	}
	for _, p := range pieces {
		if err := p.Kernel.Launch(s, p.Call); err != nil {
			return p.wrap(err)
		}
	}
	return nil
}

// ReadChosen waits for the stream and reads what the last launch of a chose, [Batch * QHeads], nil if no head depends on
// data; the choices of heads that do not are empty.
func (l *Launcher) ReadChosen(dev runtime.Device, s runtime.Stream, a runtime.Attention) ([]runtime.Chosen, error) {
	pieces, err := l.checked(a)
	if err != nil {
		return nil, err
	}
	out := make([]runtime.Chosen, a.Batch*a.QHeads)
	for h := range out {
		out[h] = runtime.Chosen{Asked: &ir.Selection{QOffset: a.QOffset}, Kept: &ir.Selection{QOffset: a.QOffset}}
	}
	some := false
	for _, p := range pieces {
		chosen, err := p.Kernel.ReadChosen(dev, s, p.Call)
		if err != nil {
			return nil, p.wrap(err)
		}
		for i, c := range chosen {
			some = true
			batch, head := i/p.Call.QHeads, i%p.Call.QHeads
			out[batch*a.QHeads+p.First+head] = c
		}
	}
	if !some {
		return nil, nil
	}
	return out, nil
}
