package runtime

// Calls in which some heads take no part: several kernels share the tensors of a layer, and each computes the heads that are
// its own. A word a head in the workspace tells the kernels on the device. docs/design-plans.md has the reasons.

// countHeads writes down what follows from the heads that take part.
func (c *call) countHeads() {
	c.present, c.sharers = 0, 0
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
		c.mask = nil
	}
}

// takesPart says whether a head of some batch entry takes part.
func (c *call) takesPart(head int) bool { return c.mask == nil || c.mask[head%c.QHeads] }

// inEntry is how many heads of one batch entry take part.
func (c *call) inEntry() int { return c.present / c.Batch }

// shared says that some heads take no part.
func (c *call) shared() bool { return c.mask != nil }

// idle says that there is nothing to compute.
func (c *call) idle() bool {
	_, rows, _ := c.Rows()
	return c.SeqQ == 0 || rows == 0 || c.present == 0
}
