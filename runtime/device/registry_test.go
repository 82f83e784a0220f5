package device_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// fakeDriver has the listed devices.
type fakeDriver struct {
	devices []device.Info
	err     error
}

func (d fakeDriver) Devices() ([]device.Info, error) { return d.devices, d.err }

func (d fakeDriver) Open(ordinal int) (device.Device, error) {
	if d.err != nil {
		return nil, d.err
	}
	if ordinal >= len(d.devices) {
		return nil, fmt.Errorf("%w: no device %d", device.ErrNoDevice, ordinal)
	}
	dev := devicetest.New()
	dev.Is = d.devices[ordinal]
	return dev, nil
}

var (
	oneEmu  = fakeDriver{devices: []device.Info{{Driver: "emu", Name: "emulator (sm_80)", Major: 8}}}
	twoGPUs = fakeDriver{devices: []device.Info{{Driver: "cuda", Name: "H200", Major: 9}, {Driver: "cuda", Ordinal: 1, Name: "A100", Major: 8}}}
	noGPUs  = fakeDriver{err: fmt.Errorf("%w: no libcuda.so.1", device.ErrNoDevice)}
	broken  = fakeDriver{err: fmt.Errorf("%w: the fabric is not ready", device.ErrDevice)}
	// what a driver says that fails for a reason which counts as no device in other calls
	invalid = fakeDriver{err: fmt.Errorf("%w: the driver does not start: %w", device.ErrDevice, device.ErrNoDevice)}
	old     = device.Info{Driver: "cuda", Name: "T4", Major: 7, Minor: 5}
	oneOld  = fakeDriver{devices: []device.Info{old}}
	mixed   = fakeDriver{devices: []device.Info{old, {Driver: "cuda", Ordinal: 1, Name: "A100", Major: 8}}}
	models  = modelDriver{oneEmu}
)

func TestRegister(t *testing.T) {
	device.WithDrivers(t, map[string]device.Driver{"emu": oneEmu, "cuda": twoGPUs})
	require.Equal(t, []string{"cuda", "emu"}, device.Drivers())
	require.PanicsWithValue(t, `runtime: driver "emu" registered twice`, func() { device.Register("emu", oneEmu) })
	require.PanicsWithValue(t, `runtime: Register of a nil driver "x"`, func() { device.Register("x", nil) })
	list, err := device.Devices("cuda")
	require.NoError(t, err)
	require.Len(t, list, 2)
	_, err = device.Open("cudda", 0)
	require.ErrorIs(t, err, device.ErrNoDevice)
	require.ErrorContains(t, err, `no driver "cudda" in this program, it has cuda, emu`)
}

func TestOpenDevice(t *testing.T) {
	for _, c := range []struct {
		name    string
		drivers map[string]device.Driver
		spec    string
		want    string // name of the device
		says    string // in the sentence, or in the error when no device is wanted
	}{
		{"a GPU is taken", map[string]device.Driver{"cuda": twoGPUs, "emu": oneEmu}, "auto", "H200", "using cuda:0, H200 (sm_90)"},
		{"empty is auto", map[string]device.Driver{"cuda": twoGPUs, "emu": oneEmu}, "", "H200", "using cuda:0"},
		{"else the emulator", map[string]device.Driver{"cuda": noGPUs, "emu": oneEmu}, "auto", "emulator (sm_80)", "using emu:0, emulator (sm_80) because there is no GPU to use (no device: no libcuda.so.1)"},
		{"a driver without devices", map[string]device.Driver{"cuda": fakeDriver{}, "emu": oneEmu}, "auto", "emulator (sm_80)", "the cuda driver lists none"},
		{"no cuda driver", map[string]device.Driver{"emu": oneEmu}, "auto", "emulator (sm_80)", "there is no GPU to use (minfc devices says why)"},
		{"nothing at all", map[string]device.Driver{"cuda": noGPUs}, "auto", "", "no libcuda.so.1"},
		{"by number", map[string]device.Driver{"cuda": twoGPUs}, "cuda:1", "A100", "using cuda:1, A100 (sm_80) as asked"},
		{"by name", map[string]device.Driver{"cuda": twoGPUs}, "cuda", "H200", "as asked"},
		{"asked for and missing", map[string]device.Driver{"cuda": noGPUs, "emu": oneEmu}, "cuda", "", "no libcuda.so.1"},
		{"number too large", map[string]device.Driver{"cuda": twoGPUs}, "cuda:2", "", "no device 2"},
		{"bad number", map[string]device.Driver{"cuda": twoGPUs}, "cuda:x", "", `device "cuda:x" is not understood, want auto, a driver (cuda), driver:number such as cuda:0, or emu:model such as emu:sm_89`},
		{"negative number", map[string]device.Driver{"cuda": twoGPUs}, "cuda:-1", "", "is not understood"},
		{"no name", map[string]device.Driver{"cuda": twoGPUs}, ":1", "", "is not understood"},
		{"a GPU that is there and fails", map[string]device.Driver{"cuda": broken, "emu": oneEmu}, "auto", "", "the fabric is not ready; --device emu runs on the emulator instead"},
		{"a driver that does not start", map[string]device.Driver{"cuda": invalid, "emu": oneEmu}, "auto", "", "the driver does not start"},
		{"an old GPU alone", map[string]device.Driver{"cuda": oneOld, "emu": oneEmu}, "auto", "emulator (sm_80)",
			"because there is no GPU to use (cuda:0, T4 (sm_75) is below compute capability 8.0, the least that kernels need)"},
		{"an old GPU before a newer one", map[string]device.Driver{"cuda": mixed, "emu": oneEmu}, "auto", "",
			"cuda:0, T4 (sm_75) is below compute capability 8.0, the least that kernels need, but cuda:1, A100 (sm_80) is not: choose it with --device cuda:1"},
		{"an old GPU asked for", map[string]device.Driver{"cuda": oneOld, "emu": oneEmu}, "cuda", "T4", "as asked"},
		{"a model", map[string]device.Driver{"emu": models}, "emu:sm_89", "emulator (sm_89)", "using emu:0, emulator (sm_89) as asked"},
		{"a model of a GPU", map[string]device.Driver{"cuda": twoGPUs}, "cuda:sm_90", "", "only an emulator can be like a GPU of choice, the driver cuda opens devices by number"},
		{"a model of no driver", map[string]device.Driver{"cuda": twoGPUs}, "emo:sm_90", "", `no driver "emo"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			device.WithDrivers(t, c.drivers)
			dev, sentence, err := device.OpenSpec(c.spec)
			if c.want == "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, dev.Info().Name)
			require.Contains(t, sentence, c.says)
		})
	}
}

// A GPU that is there but fails must not turn into the slow emulator without a word.
func TestAutoDoesNotHideABrokenGPU(t *testing.T) {
	device.WithDrivers(t, map[string]device.Driver{"cuda": brokenGPU{twoGPUs}, "emu": oneEmu})
	_, _, err := device.OpenSpec("auto")
	require.ErrorIs(t, err, devicetest.ErrInjected)
}

// modelDriver has devices of every model.
type modelDriver struct{ fakeDriver }

func (d modelDriver) OpenModel(model string) (device.Device, error) {
	dev := devicetest.New()
	dev.Is = device.Info{Driver: "emu", Name: "emulator (" + model + ")", Major: 8, Minor: 9}
	return dev, nil
}

type brokenGPU struct{ fakeDriver }

func (brokenGPU) Open(int) (device.Device, error) { return nil, devicetest.ErrInjected }

func TestLongReasonsAreForTheListOfDevices(t *testing.T) {
	require.Equal(t, "using emu:0, x because there is no GPU to use (none)", device.NoGPUSentence("emu:0, x", errors.New("none")))
	long := errors.New(strings.Repeat("the library cannot be opened ", 8))
	require.Equal(t, "using emu:0, x: there is no GPU to use (minfc devices says why)", device.NoGPUSentence("emu:0, x", long))
}
