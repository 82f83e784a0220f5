package ptxgen

import (
	"fmt"
	"strconv"
	"strings"
)

// A wgmma runs on after its instruction: until the wait for its group, its accumulators are in flight, and a mov of one
// makes ptxas serialise every wgmma of the kernel, without an error. checkInFlight refuses such code.
//
// It expects what our kernels write: one asm block issues and commits one group.

const (
	issueText = "wgmma.mma_async"
	waitText  = "wgmma.wait_group.sync.aligned"
)

// group is the set of accumulators one asm block put in flight.
type group map[vreg]bool

// flights are the groups in flight, the newest last.
type flights []group

// checkInFlight returns an error when a copy of the allocator's touches an accumulator in flight.
func checkInFlight(f *mfunc) error {
	if !usesWgmma(f) {
		return nil
	}
	in := make([]flights, len(f.blocks))
	for changed := true; changed; {
		changed = false
		for i := range f.blocks {
			out, err := f.fly(i, in[i])
			if err != nil {
				return err
			}
			for _, s := range f.blocks[i].succs {
				var grown bool
				in[s], grown = in[s].merge(out)
				changed = changed || grown
			}
		}
	}
	return nil
}

func usesWgmma(f *mfunc) bool {
	for i := range f.blocks {
		for k := range f.blocks[i].insts {
			if strings.Contains(string(f.blocks[i].insts[k].tmpl), issueText) {
				return true
			}
		}
	}
	return false
}

// fly walks block i from the groups in flight at its start to the groups in flight at its end.
func (f *mfunc) fly(i int, at flights) (flights, error) {
	now := append(flights(nil), at...)
	for k := range f.blocks[i].insts {
		m := &f.blocks[i].insts[k]
		text := string(m.tmpl)
		switch {
		case m.copied && now.has(f.root[m.ops[0].reg], f.root[m.ops[1].reg]):
			return nil, fmt.Errorf("function %q, block %q: a copy touches an accumulator between its wgmma and the wait; "+
				"its old value must not be used once the asm has it as a tied operand", f.name, strings.TrimPrefix(f.blocks[i].label, "$"))
		case strings.Contains(text, issueText):
			g := make(group)
			for _, o := range m.ops[:m.ndef] {
				g[f.root[o.reg]] = true
			}
			now = append(now, g)
		}
		if keep := waitCount(text); keep >= 0 && keep < len(now) {
			now = now[len(now)-keep:]
		}
	}
	return now[max(0, len(now)-maxGroups):], nil
}

// maxGroups bounds the groups that are followed; kernels have two or three in flight.
const maxGroups = 8

// waitCount returns how many groups an asm block lets run on, or -1 when it does not wait.
func waitCount(text string) int {
	_, rest, found := strings.Cut(text, waitText)
	if !found {
		return -1
	}
	digits, _, _ := strings.Cut(strings.TrimSpace(rest), ";")
	n, err := strconv.Atoi(strings.TrimSpace(digits))
	if err != nil {
		return -1
	}
	return n
}

func (fs flights) has(regs ...vreg) bool {
	for _, g := range fs {
		for _, r := range regs {
			if g[r] {
				return true
			}
		}
	}
	return false
}

// merge joins the newest group with the newest, and so on; grown says whether fs gained anything.
func (fs flights) merge(other flights) (merged flights, grown bool) {
	n := max(len(fs), len(other))
	merged = make(flights, n)
	for k := 1; k <= n; k++ {
		g := make(group)
		if k <= len(fs) {
			for r := range fs[len(fs)-k] {
				g[r] = true
			}
		}
		before := len(g)
		if k <= len(other) {
			for r := range other[len(other)-k] {
				g[r] = true
			}
		}
		grown = grown || len(g) > before || k > len(fs)
		merged[n-k] = g
	}
	return merged, grown
}
