package device

import "testing"

// WithDrivers replaces the registry during a test.
func WithDrivers(t *testing.T, drivers map[string]Driver) {
	old := registry.drivers
	registry.drivers = nil
	t.Cleanup(func() { registry.drivers = old })
	for name, d := range drivers {
		Register(name, d)
	}
}

// NoGPUSentence says that the emulator was taken, and why.
var NoGPUSentence = noGPUSentence

// PTXReleases lists the versions of PTX that drivers are known for, oldest first.
func PTXReleases() (versions []string) {
	for _, r := range ptxReleases {
		versions = append(versions, r.ptx)
	}
	return versions
}
