package runtimetest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/minfc/minfc/runtime/device"
)

// roundTrips copies n words through the device on a stream of its own, several times.
func roundTrips(dev device.Device, m device.Module, n int) (err error) {
	s, err := dev.NewStream()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	f, err := m.Function("copy")
	if err != nil {
		return err
	}
	for range 5 {
		if err := roundTrip(dev, f, n, s); err != nil {
			return err
		}
	}
	return nil
}

func roundTrip(dev device.Device, f device.Function, n int, s device.Stream) (err error) {
	var p [2]device.Ptr
	for i := range p {
		if p[i], err = dev.Alloc(int64(4 * n)); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, dev.Free(p[i])) }()
	}
	want, got := encode(random(n)), make([]byte, 4*n)
	if err := dev.CopyToDevice(p[0], want, s); err != nil {
		return err
	}
	if err := f.Launch(grid(4, 64), [][]byte{ptr(p[1]), ptr(p[0]), u32(uint32(n))}, s); err != nil {
		return err
	}
	if err := dev.CopyToHost(got, p[1], s); err != nil {
		return err
	}
	if !bytes.Equal(want, got) {
		return fmt.Errorf("%d words came back changed", n)
	}
	return nil
}
