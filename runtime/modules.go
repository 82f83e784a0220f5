package runtime

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// A device's compiler takes a tenth of a second and more for a module. So every module is loaded once a process and device, whatever
// artifacts have it, and the modules of an artifact are loaded side by side.

// moduleKey is a module by its content.
type moduleKey struct {
	dev device.Device
	ptx [sha256.Size]byte
}

// sharedModule is a module on a device and how many hold it.
type sharedModule struct {
	key    moduleKey
	holds  int
	loaded sync.Once
	module device.Module
	err    error
}

var shared struct {
	sync.Mutex
	modules map[moduleKey]*sharedModule
}

// hold finds or makes the entry of a module. Its loading is left to load, outside of the lock.
func hold(key moduleKey) *sharedModule {
	shared.Lock()
	defer shared.Unlock()
	m := shared.modules[key]
	if m == nil {
		m = &sharedModule{key: key}
		if shared.modules == nil {
			shared.modules = map[moduleKey]*sharedModule{}
		}
		shared.modules[key] = m
	}
	m.holds++
	return m
}

func (m *sharedModule) load(ptx []byte) error {
	m.loaded.Do(func() { m.module, m.err = m.key.dev.LoadModule(ptx) })
	return m.err
}

// release unloads the module when nobody holds it any more.
func (m *sharedModule) release() error {
	shared.Lock()
	m.holds--
	last := m.holds == 0
	if last {
		delete(shared.modules, m.key)
	}
	shared.Unlock()
	if !last || m.module == nil {
		return nil
	}
	return m.module.Unload()
}

// modules are what one loaded artifact holds, by their numbers there.
type modules struct {
	dev  device.Device
	art  *artifact.Artifact
	held map[int]*sharedModule
}

func newModules(dev device.Device, a *artifact.Artifact) *modules {
	return &modules{dev, a, map[int]*sharedModule{}}
}

// load loads modules side by side; a module that is there already counts as loaded.
func (m *modules) load(numbers ...int) error {
	var all sync.WaitGroup
	errs, sums := make([]error, len(numbers)), make([][sha256.Size]byte, len(numbers))
	for i, n := range numbers {
		all.Go(func() { sums[i] = sha256.Sum256(m.art.Modules[n]) })
	}
	all.Wait()
	for i, n := range numbers {
		if m.held[n] != nil {
			continue
		}
		own := hold(moduleKey{m.dev, sums[i]})
		m.held[n] = own
		all.Go(func() {
			if err := own.load(m.art.Modules[n]); err != nil {
				errs[i] = fmt.Errorf("load module %d: %w", n, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// function finds a kernel in a module that was loaded.
func (m *modules) function(n int, entry string) (device.Function, error) {
	return m.held[n].module.Function(entry)
}

// log is what the device's compiler said of a module.
func (m *modules) log(n int) string {
	if m.held[n] == nil || m.held[n].module == nil {
		return ""
	}
	return m.held[n].module.Log()
}

// release gives all modules back.
func (m *modules) release() error {
	var errs []error
	for _, own := range m.held {
		errs = append(errs, own.release())
	}
	m.held = nil
	return errors.Join(errs...)
}
