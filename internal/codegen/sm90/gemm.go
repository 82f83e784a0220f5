package sm90

import (
	"fmt"
	"strings"

	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// The products. One asm block holds a whole product: fence, every step over 16 of the inner dimension, commit. Results are in
// flight until awaitProducts; the code between must not touch them, nor what the product reads.

// A matrix descriptor (PTX ISA, "matrix descriptor format"): start address, leading and stride byte offsets in units of 16
// bytes, and the swizzle. Its high word is the same for all our tiles: atoms of eight rows are 1024 bytes apart, 128-byte
// swizzle.
const descriptorHigh = 1<<30 | atomBytes>>4

// descriptor is the 64-bit descriptor with that low word.
func (k *kernel) descriptor(low Value) Value {
	return k.Asm(types.I64, "mov.b64 $0, {$1, $2};", "=l,r,r", low, lower.I32(descriptorHigh))
}

// lowWord is the low word for a tile at an offset of shared memory. leading is the distance of panels for operands whose
// panels lie along the dimension that is not summed; the others ignore it.
func (k *kernel) lowWord(offset, leading int) Value {
	at := k.And(k.LShr(k.Add(k.shared, lower.I32(int64(offset))), 4), lower.I32(0x3fff))
	return k.Or(at, lower.I32(int64(leading>>4<<16)))
}

// stageWord moves a low word to a buffer.
func (k *kernel) stageWord(low, buffer Value) Value {
	return k.Add(low, k.MulBy(buffer, k.stageBytes>>4))
}

// slotWord moves a low word to a slot of a staggered stage.
func (k *kernel) slotWord(low, slot Value) Value {
	if !k.stagger {
		return low
	}
	return k.Add(low, k.MulBy(slot, k.SlotKeys*panelBytes>>4))
}

// product is a wgmma over several steps of 16: D += A B, or D = A B when acc is nil.
type product struct {
	columns int       // of B and D
	acc     []Value   // D, columns/2 floats a thread
	a       [][]Value // of each step: four registers, or one descriptor
	b       []Value   // of each step: a descriptor
	bMajor  int       // 1: the columns of B are contiguous in memory
}

// issue starts the product.
func (k *kernel) issue(p product) []Value {
	var text strings.Builder
	n := p.columns / 2
	constraints, args := repeat("=f", n), []Value(nil)
	use := func(c string, v Value) string {
		args, constraints = append(args, v), append(constraints, c)
		return fmt.Sprintf("$%d", n+len(args)-1)
	}
	for i, v := range p.acc {
		use(fmt.Sprint(i), v)
	}
	d := list("$%d", 0, n)
	text.WriteString("wgmma.fence.sync.aligned;\n")
	for i, a := range p.a {
		scale, major := 1, fmt.Sprintf("0, %d", p.bMajor)
		if i == 0 && p.acc == nil {
			scale = 0
		}
		operand := ""
		if len(a) == 1 {
			operand = use("l", a[0])
		} else {
			major = major[3:]
			var regs []string
			for _, r := range a {
				regs = append(regs, use("r", r))
			}
			operand = "{" + strings.Join(regs, ", ") + "}"
		}
		fmt.Fprintf(&text, "wgmma.mma_async.sync.aligned.m64n%dk16.f32.%s.%s %s, %s, %s, %d, 1, 1, %s;\n",
			p.columns, k.DType, k.DType, d, operand, use("l", p.b[i]), scale, major)
	}
	text.WriteString("wgmma.commit_group.sync.aligned;")
	constraints = append(constraints, "~{memory}")
	ret := types.NewStruct(floats(n)...)
	return k.Fields(k.AsmResult(ret, text.String(), strings.Join(constraints, ","), args...), n)
}

// awaitProducts waits until at most n products of this warpgroup are in flight. Values that are ready after it pass through it,
// so that nothing can be read before.
func (k *kernel) awaitProducts(n int, ready []Value) []Value {
	constraints := repeat("=f", len(ready))
	for i := range ready {
		constraints = append(constraints, fmt.Sprint(i))
	}
	text := fmt.Sprintf("wgmma.wait_group.sync.aligned %d;", n)
	ret := types.NewStruct(floats(len(ready))...)
	return k.Fields(k.AsmResult(ret, text, strings.Join(append(constraints, "~{memory}"), ","), ready...), len(ready))
}

// scores starts S = Q K^T for the stage whose K is at a buffer, from slot window on. q are the fragments of Q, nil where it is read in its
// buffer.
func (k *kernel) scores(buffer, window Value, q lower.Vectors) []Value {
	p := product{columns: k.keys}
	low := k.slotWord(k.stageWord(k.lowWord(k.layout.k, 16), buffer), window)
	query := k.Add(k.lowWord(k.layout.q, 16), k.Shl(k.group, 9)) // 64 rows of 128 bytes
	for step := range k.headDim / 16 {
		p.b = append(p.b, k.descriptor(k.Add(low, lower.I32(stepWords(step, k.kvPanel)))))
		if q != nil {
			p.a = append(p.a, q[step])
		} else {
			p.a = append(p.a, []Value{k.descriptor(k.Add(query, lower.I32(stepWords(step, k.qPanel))))})
		}
	}
	return k.issue(p)
}

// stepWords is how far a step of 16 columns is from the start of a tile with its columns contiguous: 32 bytes within a panel.
func stepWords(step, panel int) int64 {
	perPanel := panelCols / 16
	return int64(step/perPanel*panel+step%perPanel*32) >> 4
}

// addValues starts O += P V for the stage whose V is at a buffer.
func (k *kernel) addValues(st state, buffer Value) []Value {
	low := k.slotWord(k.stageWord(k.lowWord(k.layout.v, k.kvPanel), buffer), st.w)
	m := product{columns: k.headDim, acc: st.o, bMajor: 1}
	for step := range k.keys / 16 {
		m.a = append(m.a, st.p[4*step:4*step+4])
		m.b = append(m.b, k.descriptor(k.Add(low, lower.I32(int64(step*16*panelBytes>>4)))))
	}
	return k.issue(m)
}

func floats(n int) []types.Type {
	out := make([]types.Type, n)
	for i := range out {
		out[i] = types.Float
	}
	return out
}

func repeat(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

// list writes operands from..from+n-1 in braces.
func list(format string, from, n int) string {
	var s []string
	for i := range n {
		s = append(s, fmt.Sprintf(format, from+i))
	}
	return "{" + strings.Join(s, ", ") + "}"
}
