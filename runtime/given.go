package runtime

import (
	"fmt"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// Lists that the caller gives: docs/given.md has their meaning. A launch reads them from the caller's memory; nothing of them is known on the
// host but how much room they have.

// checkGiven checks what a call of the parts says of lists that the caller gives.
func (l *Loaded) checkGiven(c *call, parts []Part) error {
	for _, p := range parts {
		if !l.patterns[p.Pattern].given {
			continue
		}
		if c.given = true; p.Heads != nil { // their numbers in the lists would be others than in the tensors
			return p.wrap(device.BadCall("lists that the caller gives are for all heads of a call, want one part without Heads"))
		}
	}
	switch blocks := c.Batch * c.QHeads * c.rowBlocks(); {
	case !c.given && (c.SpanCap != 0 || c.KeyCap != 0):
		return device.BadCall("SpanCap is %d and KeyCap %d, want 0: the pattern reads no lists that the caller gives", c.SpanCap, c.KeyCap)
	case c.SpanCap < 0 || c.SpanCap > ir.MaxParam || c.KeyCap < 0 || c.KeyCap > ir.MaxParam:
		return device.BadCall("SpanCap is %d and KeyCap %d, want 0 to %d: the last dimensions of the lists", c.SpanCap, c.KeyCap, ir.MaxParam)
	case c.given && blocks > ir.MaxParam:
		return device.BadCall("the call has %d row blocks in all heads, want at most %d where the caller gives lists; split the batch", blocks, ir.MaxParam)
	}
	return nil
}

// givenList is a list of a run: how many entries each row block has, and the entries.
type givenList struct {
	name, countName, capName string
	of, count                device.Ptr
	cap                      int
}

func (c *call) givenLists(at Pointers) [2]givenList {
	return [2]givenList{
		{"Spans", "SpanCount", "SpanCap", at.Spans, at.SpanCount, c.SpanCap},
		{"Keys", "KeyCount", "KeyCap", at.Keys, at.KeyCount, c.KeyCap},
	}
}

// checkGivenPointers checks what a run brings of lists.
func (c *call) checkGivenPointers(at Pointers) error {
	for _, l := range c.givenLists(at) {
		switch {
		case !c.given && (l.count != 0 || l.of != 0):
			return device.BadCall("%s or %s is set, and the pattern reads no lists that the caller gives", l.name, l.countName)
		case !c.given:
		case l.count == 0:
			return device.BadCall("%s is a null pointer, want how many entries of %s each of the %d row blocks of each head has", l.countName, l.name, c.rowBlocks())
		case l.of == 0 && l.cap > 0:
			return device.BadCall("%s is a null pointer, want %d entries for each row block, as %s says", l.name, l.cap, l.capName)
		case l.count%4 != 0 || l.of%4 != 0:
			return device.BadCall("%s starts at %#x and %s at %#x, want addresses that are multiples of 4 bytes", l.countName, uint64(l.count), l.name, uint64(l.of))
		}
	}
	return nil
}

// givenRegions are what the call reads of lists.
func (c *call) givenRegions(at Pointers, reads []region) []region {
	blocks := int64(c.Batch) * int64(c.QHeads) * int64(c.rowBlocks())
	for _, l := range c.givenLists(at) {
		if l.count != 0 {
			reads = append(reads, newRegion(l.countName, l.count, 4*blocks))
		}
		if l.of != 0 && l.cap > 0 {
			reads = append(reads, newRegion(l.name, l.of, 4*blocks*int64(l.cap)))
		}
	}
	return reads
}

// given are the lists that the caller says were given to a head.
func (c *Chosen) given() (*ir.Selection, error) {
	if c == nil || c.Kept == nil {
		return nil, fmt.Errorf("%w: the caller gives the lists of the pattern: give them in Kept of a Chosen", device.ErrBadCall)
	}
	return c.Kept, nil
}
