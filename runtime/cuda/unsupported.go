//go:build !linux || !(amd64 || arm64)

package cuda

import (
	"fmt"
	goruntime "runtime"

	"github.com/minfc/minfc/runtime"
)

type driver struct{}

func init() { runtime.Register("cuda", driver{}) }

var errPlatform = fmt.Errorf("%w: the cuda driver works on linux (amd64, arm64), this is %s (%s); use the emulator",
	runtime.ErrNoDevice, goruntime.GOOS, goruntime.GOARCH)

func (driver) Devices() ([]runtime.DeviceInfo, error)   { return nil, errPlatform }
func (driver) Open(ordinal int) (runtime.Device, error) { return nil, errPlatform }
