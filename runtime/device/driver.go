// Package device has what runs kernels: GPUs and the emulator, and what of their memory, streams and modules a launch needs.
//
// Devices come from drivers that register themselves by import, in the manner of database/sql:
//
//	import _ "github.com/minfc/minfc/runtime/cuda"
//	dev, err := device.Open("cuda", 0)
package device

import "context"

// Ptr is an address in a device's global memory.
type Ptr uint64

// Info describes one device.
type Info struct {
	Driver          string // name the driver registered under
	Ordinal         int
	Name            string
	Major, Minor    int // compute capability
	Multiprocessors int
	MemoryBytes     uint64
	MaxSharedBytes  int // opt-in limit of dynamic shared memory for one block
	L2Bytes         int
	DriverVersion   string // newest CUDA version that the driver serves, "12.4"; "" where there is no driver to be too old
	NoTensorMaps    bool   // the driver cannot encode them: it is older than CUDA 12.0
}

// Driver opens devices.
type Driver interface {
	// Devices lists what can be opened. The error says why there is none (no library, no GPU), in words a user can act on.
	Devices() ([]Info, error)
	// Open opens a device of Devices.
	Open(ordinal int) (Device, error)
}

// Device is one GPU, or the emulator. Methods may be called from several goroutines.
// A nil Stream means the device's default stream. Nothing synchronises unless it says so.
type Device interface {
	Info() Info
	// LoadModule compiles PTX for the device. The error carries the compiler's log.
	LoadModule(ptx []byte) (Module, error)
	// Alloc returns uninitialised global memory, aligned to 256 bytes. Out of memory wraps ErrOutOfMemory.
	Alloc(bytes int64) (Ptr, error)
	Free(Ptr) error
	// CopyToDevice enqueues a copy; src may be reused when it returns.
	CopyToDevice(dst Ptr, src []byte, s Stream) error
	// CopyToHost waits for the stream, then for the copy.
	CopyToHost(dst []byte, src Ptr, s Stream) error
	// Fill enqueues setting bytes to value.
	Fill(dst Ptr, value byte, bytes int64, s Stream) error
	NewStream() (Stream, error)
	// WrapStream makes a Stream of a handle the caller owns (a CUstream); its Close does nothing. Drivers of GPUs refuse the use of a handle
	// that CheckStream refuses.
	WrapStream(handle uintptr) Stream
	NewEvent() (Event, error)
	// Synchronize waits for all work of the device.
	Synchronize() error
	Close() error
}

// Stream is an ordered queue of device work.
type Stream interface {
	Handle() uintptr
	Synchronize() error
	Close() error
}

// Event marks a point of a stream.
type Event interface {
	Record(Stream) error
	Synchronize() error
	// Since waits for both events and returns the milliseconds from start to this one.
	Since(start Event) (float64, error)
	Close() error
}

// Module is a loaded PTX module.
type Module interface {
	Function(name string) (Function, error)
	// Log is what the device's compiler said while loading: registers, spills, warnings. It may be empty.
	Log() string
	Unload() error
}

// FunctionAttributes are what the device's compiler made of a kernel.
type FunctionAttributes struct {
	Registers   int
	LocalBytes  int // local memory a thread: not 0 means spills or indexed arrays
	SharedBytes int // static shared memory
	MaxThreads  int
}

// Launch is the geometry of one kernel launch.
type Launch struct {
	Grid, Block [3]uint32
	SharedBytes int // dynamic shared memory; drivers raise the function's limit above 48 KB themselves
}

// Function is one kernel of a module.
type Function interface {
	Attributes() (FunctionAttributes, error)
	// Launch enqueues the kernel. args holds one little-endian value a kernel parameter, of the parameter's exact size;
	// it may be reused when Launch returns.
	Launch(l Launch, args [][]byte, s Stream) error
}

// Command is a launch, or with no Function the clearing of Bytes at Clear.
type Command struct {
	Function Function
	Launch   Launch
	Args     [][]byte
	Clear    Ptr
	Bytes    int64
}

// Enqueuer is implemented by devices that take several commands at a time for less than one by one. Nothing of the commands is kept. The
// number says how many commands were enqueued: all of them without an error.
type Enqueuer interface {
	Enqueue(commands []Command, s Stream) (int, error)
}

// Enqueue enqueues commands in order, together where the device can. The number says how many were enqueued.
func Enqueue(d Device, commands []Command, s Stream) (int, error) {
	if q, ok := d.(Enqueuer); ok {
		return q.Enqueue(commands, s)
	}
	for i := range commands {
		var err error
		if c := &commands[i]; c.Function == nil {
			err = d.Fill(c.Clear, 0, c.Bytes, s)
		} else {
			err = c.Function.Launch(c.Launch, c.Args, s)
		}
		if err != nil {
			return i, err
		}
	}
	return len(commands), nil
}

// Locator is implemented by devices that can tell whose memory an address is.
type Locator interface {
	// Locate is the number of the device, among those of the driver, that has the memory at p. It is false where the driver does not say, as of
	// memory that it has not given, or that several devices and the host share.
	Locate(p Ptr) (ordinal int, known bool)
}

// Interrupter is implemented by devices whose launches take long enough to be ended early: the emulator.
type Interrupter interface {
	// StreamWithin is a stream whose launches end with the context's error once it has ended. It needs no Close.
	StreamWithin(ctx context.Context) Stream
}

// StreamWithin is a stream whose launches end with a context where the device can do that, and the default stream elsewhere.
func StreamWithin(ctx context.Context, d Device) Stream {
	if i, ok := d.(Interrupter); ok {
		return i.StreamWithin(ctx)
	}
	return nil
}
