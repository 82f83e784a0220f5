//go:build cgo && linux && (amd64 || arm64)

package main

import (
	"sync/atomic"

	"github.com/minfc/minfc/runtime/device"
)

// ownPages remembers pages of memory of which the driver did not say that they are another device's, so that a run asks for none of the
// tensors that come again and again. A page that is given to another device later is not noticed: then the kernel fails, as it would
// without all this.
type ownPages [512]atomic.Uint64

// pageBits: drivers give memory to a device in pages of 2 MB.
const pageBits = 21

// checkOwn refuses memory of another device, where the driver can tell: a kernel that reads it would fail, and the device's context with
// it.
func (d *openDevice) checkOwn(at *pointers) error {
	l, can := d.Device.(device.Locator)
	if !can {
		return nil
	}
	for _, p := range [...]struct {
		name string
		at   device.Ptr
	}{{"Q", at.Q}, {"K", at.K}, {"V", at.V}, {"O", at.O}, {"LSE", at.LSE}, {"Workspace", at.Workspace},
		{"LengthsQ", at.LengthsQ}, {"LengthsK", at.LengthsK}, {"Offsets", at.Offsets}, {"StartsQ", at.StartsQ}, {"StartsK", at.StartsK},
		{"Spans", at.Spans}, {"SpanCount", at.SpanCount}, {"Keys", at.Keys}, {"KeyCount", at.KeyCount},
		{"Mass", at.Mass}, {"MassRows", at.MassRows}} {
		if p.at == 0 {
			continue
		}
		page := uint64(p.at)>>pageBits + 1 // so that an empty slot is none
		slot := &d.own[page%uint64(len(d.own))]
		if slot.Load() == page {
			continue
		}
		ordinal, known := l.Locate(p.at)
		if own := d.Info(); known && ordinal != own.Ordinal {
			return device.BadCall("%s is memory of %s:%d, and the call is of %s:%d", p.name, own.Driver, ordinal, own.Driver, own.Ordinal)
		}
		slot.Store(page)
	}
	return nil
}
