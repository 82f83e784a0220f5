//go:build gorgonia

package gorgonia

import (
	"fmt"

	"gorgonia.org/cu"

	"github.com/minfc/minfc/runtime/device"
)

// Name is the name this driver registers under.
const Name = "gorgonia"

func init() { device.Register(Name, driver{}) }

type driver struct{}

// Devices lists the GPUs. cu has initialised the CUDA driver by now: without one the process has already ended.
func (driver) Devices() ([]device.Info, error) {
	n, err := cu.NumDevices()
	if err != nil {
		return nil, failure("cuDeviceGetCount", err)
	}
	if n == 0 {
		return nil, fmt.Errorf("%w: the CUDA driver lists no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES", device.ErrNoDevice)
	}
	infos := make([]device.Info, n)
	for i := range infos {
		dev, err := cu.GetDevice(i)
		if err != nil {
			return nil, failure("cuDeviceGet", err)
		}
		if infos[i], err = infoOf(dev, i); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

// Open opens a GPU with its primary context, the one the CUDA runtime (and so PyTorch) uses.
func (d driver) Open(ordinal int) (device.Device, error) {
	infos, err := d.Devices()
	if err != nil {
		return nil, err
	}
	if ordinal < 0 || ordinal >= len(infos) {
		return nil, fmt.Errorf("%w: device %s:%d asked for, there are %d, counted from 0",
			device.ErrNoDevice, Name, ordinal, len(infos))
	}
	dev, err := cu.GetDevice(ordinal)
	if err != nil {
		return nil, failure("cuDeviceGet", err)
	}
	pageable, err := readsPageable(dev)
	if err != nil {
		return nil, err
	}
	ctx, err := dev.RetainPrimaryCtx()
	if err != nil {
		return nil, failure("cuDevicePrimaryCtxRetain", err)
	}
	return &gpu{ctx: ctx, info: infos[ordinal], pageable: pageable, release: dev.ReleasePrimaryCtx}, nil
}

// readsPageable says whether the GPU reads the host's pageable memory itself.
func readsPageable(dev cu.Device) (bool, error) {
	v, err := dev.Attribute(cu.PageableMemoryAccess)
	return v != 0, failure("cuDeviceGetAttribute", err)
}

// sharedOptin is the attribute for the largest dynamic shared memory of a block; cu has no name for it.
const sharedOptin cu.DeviceAttribute = 97

func infoOf(dev cu.Device, ordinal int) (device.Info, error) {
	info := device.Info{Driver: Name, Ordinal: ordinal, DriverVersion: driverVersion(), NoTensorMaps: !hasTensorMaps()}
	var err error
	if info.Name, err = dev.Name(); err != nil {
		return info, failure("cuDeviceGetName", err)
	}
	total, err := dev.TotalMem()
	if err != nil {
		return info, failure("cuDeviceTotalMem", err)
	}
	info.MemoryBytes = uint64(total)
	for _, a := range []struct {
		attribute cu.DeviceAttribute
		into      *int
	}{
		{cu.ComputeCapabilityMajor, &info.Major},
		{cu.ComputeCapabilityMinor, &info.Minor},
		{cu.MultiprocessorCount, &info.Multiprocessors},
		{sharedOptin, &info.MaxSharedBytes},
		{cu.L2CacheSize, &info.L2Bytes},
	} {
		if *a.into, err = dev.Attribute(a.attribute); err != nil {
			return info, failure("cuDeviceGetAttribute", err)
		}
	}
	return info, nil
}

// driverVersion is the newest CUDA version the driver serves, such as "12.4".
func driverVersion() string {
	v := cu.Version()
	return fmt.Sprintf("%d.%d", v/1000, v%1000/10)
}
