package runtime

import (
	"errors"
	"fmt"
	"maps"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// maxScratchBytes is what an index stage may hold of sums, or of block scores, at a time. More of it means fewer launches: with this much a
// plan layer of a million tokens takes fewer than 60.
const maxScratchBytes = 512 << 20

// boundCall is a checked call of a pattern with everything that follows from its numbers.
type boundCall struct {
	*call
	*ir.BoundProgram
	choices []choiceCall
	verdict
	floats map[string]float32
	bases  bases
}

// bases say where the memory of a call begins, in bytes from the start of the tensors of its layer and of the layer's workspace.
type bases struct{ q, k, v, o, lse, kept, passing int64 }

// bind puts numbers to the pattern's program and weighs the call.
func (k *Pattern) bind(c *call) (*boundCall, error) {
	values, err := k.headValues(c)
	if err != nil {
		return nil, err
	}
	x := &boundCall{call: c, bases: c.bases()}
	if x.BoundProgram, err = k.program.Bind(k.programLaunch(c, values)); err != nil {
		return nil, device.BadCall("%w", err)
	}
	for i, of := range k.choices {
		x.choices = append(x.choices, x.number(of, values))
		if err := x.checkGroups(x.choices[i]); err != nil {
			return nil, err
		}
	}
	if x.verdict, err = k.weigh(x); err != nil {
		return nil, err
	}
	x.floats = map[string]float32{"scale_log2": c.scaleLog2}
	if s := k.schedule.Skip; s != nil {
		share, err := s.Log2(c.values)
		if err != nil {
			return nil, device.BadCall("skip: %w", err)
		}
		x.floats["skip_log2"] = float32(share)
	}
	if f := k.fallback; f != nil {
		x.floats["price_fixed"], x.floats["price_limit"] = float32(x.fixed), float32(x.limit())
		x.floats["price_slot"], x.floats["price_column"] = float32(f.lists.Slot), float32(f.lists.Column)
	}
	return x, nil
}

// programLaunch is what a program is told of a call; values are the parameters of its heads, or of all of them.
func (k *Pattern) programLaunch(c *call, values []map[string]int64) ir.ProgramLaunch {
	l := ir.ProgramLaunch{Numbers: c.numbers(), Kernels: k.parameters, Heads: make([]ir.Env, c.QHeads)}
	l.Numbers["multiprocessors"], l.Numbers["scratch_bytes"] = int64(k.loaded.dev.Info().Multiprocessors), k.scratchBytes
	maps.Copy(l.Numbers, paramNumbers(c.values))
	all := paramNumbers(values[0])
	for h := range l.Heads {
		if !c.takesPart(h) {
			continue
		}
		if len(values) > 1 {
			all = paramNumbers(values[h])
		}
		l.Heads[h] = all
	}
	return l
}

// paramNumbers are the values of parameters by the names that programs have for them.
func paramNumbers(values map[string]int64) ir.Env {
	out := ir.Env{}
	for name, v := range values {
		out[ir.ParamName(name)] = v
	}
	return out
}

// numbers are the integers of a call that programs know; see ir.Program.
func (c *call) numbers() ir.Env {
	return ir.Env{
		"batch": int64(c.Batch), "q_heads": int64(c.QHeads), "kv_heads": int64(c.KVHeads), "group": int64(c.QHeads / c.KVHeads),
		"sq": int64(c.SeqQ), "sk": int64(c.SeqK), "q_offset": int64(c.QOffset), "least_reach": int64(c.Reach), "head_dim": int64(c.headDim),
		"ragged": c.Lengths.ragged(), "total_q": int64(c.TotalQ), "total_k": int64(c.TotalK),
		"span_cap": int64(c.SpanCap), "key_cap": int64(c.KeyCap),
		"present": int64(c.inEntry()), "sharers": int64(c.sharers),
		"q_batch": bytesOf(c.Strides.Q.Batch), "q_head": bytesOf(c.Strides.Q.Head), "q_row": bytesOf(c.Strides.Q.Row),
		"k_batch": bytesOf(c.Strides.K.Batch), "k_head": bytesOf(c.Strides.K.Head), "k_row": bytesOf(c.Strides.K.Row),
		"v_batch": bytesOf(c.Strides.V.Batch), "v_head": bytesOf(c.Strides.V.Head), "v_row": bytesOf(c.Strides.V.Row),
		"o_batch": bytesOf(c.Strides.O.Batch), "o_head": bytesOf(c.Strides.O.Head), "o_row": bytesOf(c.Strides.O.Row),
		"lse_batch": c.Strides.LSE.Batch * lseBytes, "lse_head": c.Strides.LSE.Head * lseBytes,
	}
}

const (
	elementBytes = 2 // bf16 and f16
	lseBytes     = 4 // float32
)

func bytesOf(elements int64) int64 { return elements * elementBytes }

// heads is how many heads all batch entries have.
func (x *boundCall) heads() int { return x.Batch * x.QHeads }

// routed says how attention kernels share the heads; dense asks for the kernel without sparsity.
func (x *boundCall) routed(dense bool) ir.Routed {
	r := ir.Routed{ByHead: x.routing == byHead, Taken: ir.RouteSparse}
	if dense && x.routing == byHead {
		r.Taken = ir.RouteDense
	}
	return r
}

// indexParts are the parts of the program that a stage before attention runs.
func (x *boundCall) indexParts(s Stages) []string {
	switch {
	case s == stageNumbers && (x.routing != allDense || x.shared()):
		return []string{ir.PartNumbers}
	case s == stageNumbers || x.routing == allDense:
		return nil
	case s == StagePool:
		return []string{ir.PartPool}
	case s == StageChoose:
		return []string{ir.PartChoose}
	case x.routing == byHead:
		return []string{ir.PartGather, ir.PartDecide}
	default:
		return []string{ir.PartGather}
	}
}

// attentionActions is attention itself, by one kernel or by two that share the heads.
func (x *boundCall) attentionActions() (out []ir.Action, err error) {
	if x.routing != allDense {
		if out, err = x.Part(ir.PartAttend, x.routed(false)); err != nil {
			return nil, err
		}
	}
	if x.routing != allSparse {
		dense, err := x.Part(ir.PartDense, x.routed(true))
		return append(out, dense...), err
	}
	return out, nil
}

// attentionLaunches is how many kernels the attention is shared by.
func (x *boundCall) attentionLaunches() int {
	if x.routing == byHead {
		return 2
	}
	return 1
}

func (x *boundCall) actions(parts ...string) (out []ir.Action, err error) {
	for _, name := range parts {
		part, err := x.Part(name, x.routed(false))
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out, nil
}

// at is the address of a buffer of the program, in bytes from the start of the workspace.
func (x *boundCall) at(buffer string) int64 { return x.offset(x.At(buffer)) }

// offset is where an address of the workspace lies, in bytes from its start.
func (x *boundCall) offset(a ir.Address) int64 {
	if a.Base == ir.BasePassing {
		return x.bases.passing + a.Bytes
	}
	return x.bases.kept + a.Bytes
}

// wordsAt is where the words of heads lie.
func (x *boundCall) wordsAt() (int64, error) {
	a, err := x.Address("route", ir.Routed{ByHead: true})
	return x.offset(a), err
}

// errInternal is the error of a program that a verified artifact cannot have.
var errInternal = errors.New("internal: the program does not fit its call")

func wrapInternal(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errInternal, err)
}
