//go:build gorgonia

package gorgonia

import (
	"reflect"

	"github.com/minfc/minfc/internal/nvidia"
)

// Error is a failed call of the driver library. errors.Is knows package device's kinds of it.
type Error = nvidia.Error

// failure names the call that failed. Errors that are not result codes, or are named already, pass unchanged.
func failure(call string, err error) error {
	if err == nil {
		return nil
	}
	// cu does not export its type of result codes, an integer.
	if v := reflect.ValueOf(err); v.CanInt() {
		return newError(call, int(v.Int()))
	} else if v.CanUint() {
		return newError(call, int(v.Uint()))
	}
	return err
}
