//go:build cgo && linux && (amd64 || arm64)

package main

import (
	"fmt"
	"sync"

	"github.com/minfc/minfc/runtime/device"
)

// handle is an object as C holds it: a number that is no address, so that C can neither look into Go's memory nor hold on to it.
//
//	bit 0       1, which no pointer to an object has
//	bits 1..2   kind
//	bits 3..31  index in the table of its kind
//	bits 32..63 generation: how often the index was given away, from 1 on; an index is used again, a handle is not
type handle uint64

type kind uint64

const (
	kindDevice kind = 1 + iota
	kindAttention
	kindCall
)

var kindNames = map[kind]string{kindDevice: "device", kindAttention: "attention", kindCall: "call"}

const (
	kindShift, indexShift, generationShift = 1, 3, 32
	mostObjects                            = 1 << (generationShift - indexShift)
)

func (h handle) kind() kind         { return kind(h >> kindShift & 3) }
func (h handle) index() int         { return int(uint32(h) >> indexShift) }
func (h handle) generation() uint32 { return uint32(h >> generationShift) }

// table has the open objects of a kind. It is safe for concurrent use.
type table[T any] struct {
	kind
	mu    sync.RWMutex
	slots []slot[T]
	free  []int // indices of slots without an object
}

type slot[T any] struct {
	generation uint32 // of the object, or of the last one
	object     *T     // nil: closed
}

func (t *table[T]) put(object *T) (handle, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.free) == 0 {
		if len(t.slots) == mostObjects {
			return 0, device.BadCall("%d objects are open: close some", mostObjects)
		}
		t.free, t.slots = append(t.free, len(t.slots)), append(t.slots, slot[T]{})
	}
	last := len(t.free) - 1
	index := t.free[last]
	t.free = t.free[:last]
	s := &t.slots[index]
	s.generation++
	s.object = object
	return handle(s.generation)<<generationShift | handle(index)<<indexShift | handle(t.kind)<<kindShift | 1, nil
}

// get finds an open object.
func (t *table[T]) get(h handle) (*T, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s, err := t.find(h)
	if err != nil {
		return nil, err
	}
	return s.object, nil
}

// remove takes an object out of the table; whoever does owns its end.
func (t *table[T]) remove(h handle) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(h)
	if err != nil {
		return err
	}
	s.object = nil
	if s.generation+1 != 0 { // an index whose generations are used up is left alone
		t.free = append(t.free, h.index())
	}
	return nil
}

func (t *table[T]) find(h handle) (*slot[T], error) {
	name := kindNames[t.kind]
	switch {
	case h == 0:
		return nil, device.BadCall("the %s is NULL", name)
	case h&1 == 1 && h.kind() != t.kind && kindNames[h.kind()] != "":
		return nil, device.BadCall("found a handle of the kind %s, want one of the kind %s", kindNames[h.kind()], name)
	case h&1 == 0 || h.kind() != t.kind || h.index() >= len(t.slots) || h.generation() == 0 || h.generation() > t.slots[h.index()].generation:
		return nil, device.BadCall("%#x is no %s that this library opened", uint64(h), name)
	}
	if s := &t.slots[h.index()]; s.object != nil && s.generation == h.generation() {
		return s, nil
	}
	return nil, fmt.Errorf("%w: the %s", device.ErrClosed, name)
}

// owner counts what was made of an object and is still open, so that it is closed last.
type owner struct {
	mu     sync.Mutex
	open   int
	closed bool
}

// hold counts one more.
func (o *owner) hold() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return device.ErrClosed
	}
	o.open++
	return nil
}

func (o *owner) release() {
	o.mu.Lock()
	o.open--
	o.mu.Unlock()
}

// end lets nothing more be made, if all that was made is closed.
func (o *owner) end(self, made kind) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open > 0 {
		return device.BadCall("the %s has %d open objects of the kind %s: close these first", kindNames[self], o.open, kindNames[made])
	}
	if o.closed {
		return fmt.Errorf("%w: the %s", device.ErrClosed, kindNames[self])
	}
	o.closed = true
	return nil
}
