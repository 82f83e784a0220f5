package emu

import (
	"fmt"
	"strings"
)

// wgmma.mma_async multiplies a 64x16 matrix A with a 16xN matrix B for the four warps of a warpgroup. The hardware may
// read the operands and write the sums at any time between the issue and the group's wait, so the emulator wants
// them right at both ends: what shared memory holds is checked and multiplied at the issue and compared again at the wait.

// wgmma is what one wgmma.mma_async does.
type wgmma struct {
	n              int     // columns of the sums; there are 64 rows
	sums           []int32 // n/2 slots
	list           int32   // instructions with equal numbers have equal lists of sums
	aRegs          []int32 // 4 slots, or nil when A lies in shared memory
	aDesc, bDesc   int32   // 64-bit slots of the descriptors
	transA, transB bool    // MN-major
	negate         bool    // the products
	half           bool    // f16, else bf16

	keep    bool // add to the sums; only when no predicate says so
	scale   int32
	scaleBy bool // slot scale decides
}

// group is a warpgroup: four warps, the first a multiple of four.
type group struct {
	pc      int32
	waiting []*warp // parked at the wgmma.mma_async at pc
}

func (g *group) describe() string { return "its warpgroup" }

const groupWarps = 4

// decodeWgmma handles wgmma.{mma_async,fence,commit_group,wait_group}.
func decodeWgmma(d *decoder) {
	kind := d.oneOf("mma_async", "fence", "commit_group", "wait_group")
	d.oneOf("sync")
	d.oneOf("aligned")
	d.in.ctl = ctlWarp
	switch kind {
	case "mma_async":
		d.mmaAsync()
	case "fence":
		d.count(0, 0)
		d.in.exec = execWgmmaFence
	case "commit_group":
		d.count(0, 0)
		d.in.exec = execWgmmaCommit
	case "wait_group":
		if d.count(1, 1) {
			d.in.imm, d.in.exec = d.immediate(d.st.args[0]), execWgmmaWait
		}
		if d.in.imm > 7 {
			d.fail("found %d, wgmma.wait_group wants a number of groups from 0 to 7", d.in.imm)
		}
	}
	d.k.tensor = true
}

// mmaAsync decodes D, A, B, scale-d, imm-scale-a, imm-scale-b [, trans-a], trans-b; only an A in shared memory has trans-a.
func (d *decoder) mmaAsync() {
	d.in.ctl = ctlGroup
	g := &wgmma{n: d.wgmmaShape(), half: d.takeTwice("f16")}
	if !g.half && !d.takeTwice("bf16") {
		d.fail("%s is not supported by the emulator, which knows f32 sums of bf16.bf16 and f16.f16", d.st.op)
	}
	a := d.st.args
	count := 8
	if len(a) > 1 && a[1].kind == argVector {
		count = 7
	}
	if !d.count(count, count) {
		return
	}
	d.wgmmaRegisters(g, a[0], a[1])
	g.bDesc = d.reg(a[2], class64)
	d.scaleD(g, a[3])
	g.negate = d.sign(a[4]) != d.sign(a[5])
	if g.aRegs == nil {
		g.transA = d.flag(a[6])
	}
	g.transB = d.flag(a[count-1])
	d.in.wgmma, d.in.text = g, shortLists(d.in.text)
}

// takeTwice removes a type that stands twice, for A and for B.
func (d *decoder) takeTwice(mod string) bool {
	first := d.take(mod)
	return d.take(mod) && first
}

// wgmmaShape reads the columns out of .m64nNk16 and takes .f32, the type of the sums.
func (d *decoder) wgmmaShape() int {
	for n := 8; n <= 256; n += 8 {
		if d.take(fmt.Sprintf("m64n%dk16", n)) {
			d.oneOf("f32")
			return n
		}
	}
	d.fail("%s is not supported by the emulator, which knows m64nNk16 with N a multiple of 8 up to 256", d.st.op)
	return 8
}

func (d *decoder) wgmmaRegisters(g *wgmma, sums, a operand) {
	f, b32 := ptxTypes["f32"], ptxTypes["b32"]
	g.sums = d.list(sums, g.n/2, func(o operand) int32 { return d.reg(o, f.class) })
	if a.kind == argVector {
		g.aRegs = d.list(a, 4, func(o operand) int32 { return d.reg(o, b32.class) })
	} else {
		g.aDesc = d.reg(a, class64)
	}
	seen := map[int32]bool{}
	for _, s := range g.sums {
		if seen[s] {
			d.fail("register %s stands twice in the list of sums", d.k.nameOf(s, class32))
		}
		seen[s] = true
	}
	for _, s := range g.aRegs {
		if seen[s] {
			d.fail("register %s is both a sum and an element of A", d.k.nameOf(s, class32))
		}
	}
	g.list = d.sumList(g.sums)
}

// list is vector without its limit on the length.
func (d *decoder) list(a operand, n int, each func(operand) int32) []int32 {
	if a.kind != argVector || len(a.list) != n {
		d.fail("found %s of %d registers, %s wants %d in braces", describe(a), len(a.list), d.st.op, n)
		return nil
	}
	slots := make([]int32, n)
	for i, x := range a.list {
		slots[i] = each(x)
	}
	return slots
}

// sumList numbers the different lists of sums, from 1.
func (d *decoder) sumList(slots []int32) int32 {
	key := fmt.Sprint(slots)
	if d.sumLists[key] == 0 {
		if d.sumLists == nil {
			d.sumLists = map[string]int32{}
		}
		d.sumLists[key] = int32(len(d.sumLists) + 1)
	}
	return d.sumLists[key]
}

func (d *decoder) scaleD(g *wgmma, a operand) {
	if a.kind == argImm {
		g.keep = d.flag(a)
		return
	}
	var not bool
	if g.scale, not = d.pred(a); not {
		d.fail("found a negated predicate, scale-d is a plain one")
	}
	g.scaleBy = true
}

// flag is an operand that is 0 or 1.
func (d *decoder) flag(a operand) bool {
	v := d.immediate(a)
	if v > 1 {
		d.fail("found the number %d, %s wants 0 or 1 there", int64(v), d.st.op)
	}
	return v == 1
}

// sign is an operand that is 1 or -1.
func (d *decoder) sign(a operand) int64 {
	v := int64(d.immediate(a))
	if v != 1 && v != -1 {
		d.fail("found the number %d, %s wants 1 or -1 there", v, d.st.op)
	}
	return v
}

// shortLists cuts long register lists out of a text for messages.
func shortLists(text string) string {
	var s strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "{")
		s.WriteString(before)
		if !ok {
			return s.String()
		}
		list, after, _ := strings.Cut(rest, "}")
		if items := strings.Split(list, ","); len(items) > 8 {
			list = fmt.Sprintf("%s, ..., %s", strings.TrimSpace(items[0]), strings.TrimSpace(items[len(items)-1]))
		}
		s.WriteString("{" + list + "}")
		text = after
	}
}

// gather holds a warp at a wgmma.mma_async until the other three of its warpgroup are there, and then issues it.
func (b *block) gather(w *warp, in *inst) error {
	first := w.id &^ (groupWarps - 1)
	if first+groupWarps > len(b.warps) {
		return laneError(0, "%s is executed by warp %d of a block of %d warps: a warpgroup has warps %d to %d", in.name, w.id, len(b.warps), first, first+groupWarps-1)
	}
	g := &b.groups[first/groupWarps]
	pc := w.frags[0].pc
	if len(g.waiting) > 0 && g.pc != pc {
		return laneError(0, "is executed by warp %d while warp %d executes the wgmma at PTX line %d: the four warps of a warpgroup must execute the same one",
			w.id, g.waiting[0].id, b.run.k.code[g.pc].line)
	}
	g.pc = pc
	g.waiting = append(g.waiting, w)
	if len(g.waiting) < groupWarps {
		w.park(g)
		return nil
	}
	g.waiting = g.waiting[:0]
	warps := b.warps[first : first+groupWarps]
	if err := b.issueWgmma(in, warps); err != nil {
		return err
	}
	b.wake(g)
	for _, x := range warps {
		x.frags[0].pc++
	}
	return nil
}

// issueWgmma checks everything, computes the sums, and hides them until the wait.
func (b *block) issueWgmma(in *inst, warps []*warp) error {
	keep, err := scaleOf(in, warps)
	if err != nil {
		return err
	}
	op := b.newTensorOp(in)
	for _, w := range warps {
		if err := w.claimTensor(op, keep); err != nil {
			return w.fault(in, err)
		}
	}
	if err := b.tensorOperands(op, warps); err != nil {
		return err
	}
	for i, w := range warps {
		w.multiplyWgmma(op, i, keep)
		w.tensor.queue = append(w.tensor.queue, tensorEntry{op, w.tensor.committed})
	}
	return nil
}

// scaleOf says whether the sums are kept, which all lanes of the warpgroup must agree on.
func scaleOf(in *inst, warps []*warp) (bool, error) {
	g := in.wgmma
	if !g.scaleBy {
		return g.keep, nil
	}
	for _, w := range warps {
		if err := w.readyP(g.scale, fullMask); err != nil {
			return false, w.fault(in, err)
		}
		if p := w.pred[g.scale]; p != warps[0].pred[g.scale] || p != 0 && p != fullMask {
			return false, laneError(0, "scale-d differs between the lanes of the warpgroup: it must be the same in all")
		}
	}
	return warps[0].pred[g.scale] != 0, nil
}
