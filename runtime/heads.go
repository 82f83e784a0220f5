package runtime

import "github.com/minfc/minfc/runtime/device"

// Calls in which some heads take no part: several kernels share the tensors of a layer, and each computes the heads that are
// its own. A word a head in the workspace tells the kernels on the device. docs/design-plans.md has the reasons.

// fillHeads checks Heads and writes down what follows from it. No heads at all is the same as all of them.
func (c *call) fillHeads() error {
	if got := len(c.Heads); got > 0 && got != c.QHeads {
		return device.BadCall("Heads has %d entries, want one for each of %d query heads", got, c.QHeads)
	}
	group := c.QHeads / c.KVHeads
	perKV := make([]int, c.KVHeads)
	for h := range c.QHeads {
		if c.takesPart(h) {
			perKV[h/group]++
		}
	}
	for _, n := range perKV {
		c.present, c.sharers = c.present+n*c.Batch, max(c.sharers, n)
	}
	if c.present == c.Batch*c.QHeads {
		c.Heads = nil
	}
	return nil
}

// takesPart says whether a head of some batch entry takes part.
func (c *call) takesPart(head int) bool { return len(c.Heads) == 0 || c.Heads[head%c.QHeads] }

// inEntry is how many heads of one batch entry take part.
func (c *call) inEntry() int { return c.present / c.Batch }

// shared says that some heads take no part.
func (c *call) shared() bool { return len(c.Heads) > 0 }

// idle says that there is nothing to compute.
func (c *call) idle() bool { return c.SeqQ == 0 || c.present == 0 }
