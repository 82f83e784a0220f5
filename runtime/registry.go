package runtime

import (
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
func Devices(name string) ([]DeviceInfo, error) {
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

// OpenDevice opens the device a person named: "auto", or a driver with an optional ordinal ("cuda", "cuda:1", "emu").
// Auto takes the first cuda device where there is one and the emulator elsewhere. The sentence says what was taken and why.
func OpenDevice(spec string) (dev Device, sentence string, err error) {
	if spec == "" || spec == "auto" {
		return openAuto()
	}
	name, ordinal, err := ParseDeviceSpec(spec)
	if err != nil {
		return nil, "", err
	}
	if dev, err = Open(name, ordinal); err != nil {
		return nil, "", err
	}
	return dev, fmt.Sprintf("using %s as asked", describe(dev.Info())), nil
}

// ParseDeviceSpec splits "cuda:1" into "cuda" and 1; the ordinal is 0 when it is not given.
func ParseDeviceSpec(spec string) (name string, ordinal int, err error) {
	name, number, found := strings.Cut(spec, ":")
	if found {
		ordinal, err = strconv.Atoi(number)
	}
	if err != nil || ordinal < 0 || name == "" {
		return "", 0, fmt.Errorf("%w: device %q is not understood, want auto, a driver (%s) or driver:number such as cuda:0",
			ErrBadCall, spec, listNames(Drivers()))
	}
	return name, ordinal, nil
}

func openAuto() (Device, string, error) {
	why := noGPU()
	if why == nil {
		dev, err := Open("cuda", 0)
		if err != nil { // a GPU that is there and fails is not silently replaced by a slow emulator
			return nil, "", err
		}
		return dev, fmt.Sprintf("using %s", describe(dev.Info())), nil
	}
	dev, err := Open("emu", 0)
	if err != nil {
		return nil, "", fmt.Errorf("%w (and %w)", err, why)
	}
	return dev, noGPUSentence(describe(dev.Info()), why), nil
}

// longSentence is how many characters a reason may bring a sentence to. The driver's own, which is for those who look for it, is longer.
const longSentence = 155

func noGPUSentence(taken string, why error) string {
	if s := fmt.Sprintf("using %s because there is no GPU to use (%v)", taken, why); len(s) <= longSentence {
		return s
	}
	return fmt.Sprintf("using %s: there is no GPU to use (minfc devices says why)", taken)
}

// noGPU returns nil when the cuda driver has a device, else the reason.
func noGPU() error {
	list, err := Devices("cuda")
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%w: the cuda driver lists none", ErrNoDevice)
	}
	return err
}

func describe(i DeviceInfo) string {
	target := fmt.Sprintf("(sm_%d%d)", i.Major, i.Minor)
	if strings.HasSuffix(i.Name, target) { // the emulator is named after what it emulates
		target = ""
	}
	return strings.TrimSpace(fmt.Sprintf("%s:%d, %s %s", i.Driver, i.Ordinal, i.Name, target))
}
