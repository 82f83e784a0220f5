package device

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

var registry struct {
	sync.RWMutex
	drivers map[string]Driver
}

// Register makes a driver available under a name. Drivers call it in their init. Like sql.Register it panics when the
// driver is nil or the name is taken: two drivers under one name is a mistake of the program's imports.
func Register(name string, d Driver) {
	registry.Lock()
	defer registry.Unlock()
	if d == nil {
		panic("runtime: Register of a nil driver " + strconv.Quote(name))
	}
	if _, dup := registry.drivers[name]; dup {
		panic("runtime: driver " + strconv.Quote(name) + " registered twice")
	}
	if registry.drivers == nil {
		registry.drivers = map[string]Driver{}
	}
	registry.drivers[name] = d
}

// Drivers returns the sorted names of the registered drivers.
func Drivers() []string {
	registry.RLock()
	defer registry.RUnlock()
	return slices.Sorted(maps.Keys(registry.drivers))
}

// Devices lists the devices of the named driver; see Driver.Devices.
func Devices(name string) ([]Info, error) {
	d, err := driver(name)
	if err != nil {
		return nil, err
	}
	return d.Devices()
}

// Open opens a device of the named driver.
func Open(name string, ordinal int) (Device, error) {
	d, err := driver(name)
	if err != nil {
		return nil, err
	}
	return d.Open(ordinal)
}

func driver(name string) (Driver, error) {
	registry.RLock()
	d := registry.drivers[name]
	registry.RUnlock()
	if d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("%w: no driver %q in this program, it has %s; import the driver's package to add it",
		ErrNoDevice, name, listNames(Drivers()))
}

func listNames(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// Spec is a device as a person names it: a driver, and a number or, of the emulator, a model.
type Spec struct {
	Driver  string
	Ordinal int
	Model   string // GPU that the device is to be like, "sm_89"; "" for the driver's own choice
}

// ModelDriver is a driver whose devices can be like several GPUs.
type ModelDriver interface {
	Driver
	OpenModel(model string) (Device, error)
}

// OpenSpec opens the device a person named: "auto", or a driver with an optional number or model ("cuda", "cuda:1", "emu", "emu:sm_89").
// Auto takes the first cuda device, and the emulator where there is no GPU to use: none at all, or none that code of minfc could run on.
// A GPU that could run it but fails is an error, not a reason to take a slow emulator. The sentence says what was taken and why.
func OpenSpec(spec string) (dev Device, sentence string, err error) {
	if spec == "" || spec == "auto" {
		return openAuto()
	}
	s, err := ParseSpec(spec)
	if err != nil {
		return nil, "", err
	}
	if dev, err = s.open(); err != nil {
		return nil, "", err
	}
	return dev, fmt.Sprintf("using %s as asked", describe(dev.Info())), nil
}

// ParseSpec splits "cuda:1" into cuda and 1, "emu:sm_89" into emu and sm_89; the number is 0 when it is not given.
func ParseSpec(spec string) (Spec, error) {
	name, which, found := strings.Cut(spec, ":")
	s := Spec{Driver: name}
	var err error
	switch {
	case targetName.MatchString(which):
		s.Model = which
	case found:
		s.Ordinal, err = strconv.Atoi(which)
	}
	if err != nil || s.Ordinal < 0 || name == "" {
		return Spec{}, fmt.Errorf("%w: device %q is not understood, want auto, a driver (%s), driver:number such as cuda:0, or emu:model such as emu:sm_89",
			ErrBadCall, spec, listNames(Drivers()))
	}
	return s, nil
}

func (s Spec) open() (Device, error) {
	if s.Model == "" {
		return Open(s.Driver, s.Ordinal)
	}
	d, err := driver(s.Driver)
	if err != nil {
		return nil, err
	}
	if m, ok := d.(ModelDriver); ok {
		return m.OpenModel(s.Model)
	}
	return nil, fmt.Errorf("%w: device %s:%s: only an emulator can be like a GPU of choice, the driver %s opens devices by number",
		ErrBadCall, s.Driver, s.Model, s.Driver)
}

func openAuto() (Device, string, error) {
	gpus, why := Devices("cuda")
	switch {
	case why != nil && (errors.Is(why, ErrDevice) || !errors.Is(why, ErrNoDevice)):
		return nil, "", notEmulated(why)
	case why == nil && len(gpus) == 0:
		why = fmt.Errorf("%w: the cuda driver lists none", ErrNoDevice)
	case why == nil:
		n := slices.IndexFunc(gpus, func(i Info) bool { return !i.TooOld() })
		if n == 0 {
			return openFirst()
		}
		if n > 0 {
			return nil, "", Unsupported("%s is below compute capability 8.0, the least that kernels need, but %s is not: choose it with --device cuda:%d",
				describe(gpus[0]), describe(gpus[n]), n)
		}
		why = Unsupported("%s is below compute capability 8.0, the least that kernels need", describe(gpus[0]))
	}
	dev, err := Open("emu", 0)
	if err != nil {
		return nil, "", fmt.Errorf("%w (and %w)", err, why)
	}
	return dev, noGPUSentence(describe(dev.Info()), why), nil
}

// longSentence is how many characters a reason may bring a sentence to. The driver's own sentence, for people who look for it, is longer.
const longSentence = 155

func noGPUSentence(taken string, why error) string {
	if s := fmt.Sprintf("using %s because there is no GPU to use (%v)", taken, why); len(s) <= longSentence {
		return s
	}
	return fmt.Sprintf("using %s: there is no GPU to use (minfc devices says why)", taken)
}

func openFirst() (Device, string, error) {
	dev, err := Open("cuda", 0)
	if err != nil {
		return nil, "", notEmulated(err)
	}
	return dev, fmt.Sprintf("using %s", describe(dev.Info())), nil
}

// notEmulated is the error of a GPU that is there and fails.
func notEmulated(err error) error {
	return fmt.Errorf("%w; --device emu runs on the emulator instead", err)
}

func describe(i Info) string {
	target := fmt.Sprintf("(sm_%d%d)", i.Major, i.Minor)
	if strings.HasSuffix(i.Name, target) { // the emulator is named after what it emulates
		target = ""
	}
	return strings.TrimSpace(fmt.Sprintf("%s:%d, %s %s", i.Driver, i.Ordinal, i.Name, target))
}
