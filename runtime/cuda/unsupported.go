//go:build !linux || !(amd64 || arm64)

package cuda

import (
	"fmt"
	goruntime "runtime"

	"github.com/minfc/minfc/runtime/device"
)

type driver struct{}

func init() { device.Register("cuda", driver{}) }

var errPlatform = fmt.Errorf("%w: the cuda driver works on linux (amd64, arm64), this is %s (%s); use the emulator",
	device.ErrNoDevice, goruntime.GOOS, goruntime.GOARCH)

func (driver) Devices() ([]device.Info, error)         { return nil, errPlatform }
func (driver) Open(ordinal int) (device.Device, error) { return nil, errPlatform }
