package cost

import (
	"slices"
	"strings"
)

// Machine is one kind of GPU that runs the code of one target.
type Machine struct {
	Name            string // part of the name that the driver gives the device
	Target          string // of the code, "sm_80"
	Measured        bool   // the rates were fitted to measurements, not derived from published figures
	Source          string // where the figures come from
	Multiprocessors int
	L2Bytes         int     // has no part in the price: docs/cost.md says why
	MemoryGBs       float64 // device memory, 1e9 bytes a second, as a copy reaches it
	LaunchMicros    float64 // of one empty kernel; not measured
	Rates           Rates
	Lists           ListRates
	Index           IndexRates
}

// Device is what a driver says of a GPU. Zero numbers are not known.
type Device struct {
	Name            string
	Multiprocessors int
	L2Bytes         int
}

// Rates are the prices of one multiprocessor's work.
type Rates struct {
	TensorTFLOPS float64 // both products, TFLOP/s
	LoadNanos    float64 // one ldmatrix.x4 of a warp that the products do not hide
	SoftmaxPicos float64 // one pair: maximum, exponential, sum, conversion
	MaskPicos    float64 // what a pair costs more in an edge tile
	TileNanos    float64 // one key tile, whatever its size
	RowNanos     float64 // one row tile, whatever its size
	Overlap      float64 // products and softmax take (a^Overlap + b^Overlap)^(1/Overlap); 1: one after the other
}

const fittedSource = "go run ./tools/costfit -write, over docs/bench"

// machines are all known ones, the measured ones first.
var machines = []Machine{
	{
		Name: "H200", Target: "sm_80", Measured: true, Source: fittedSource,
		Multiprocessors: 132, L2Bytes: 60 << 20, MemoryGBs: 4300, LaunchMicros: 4, Rates: h200sm80, Lists: h200lists80, Index: h200index,
	},
	{
		Name: "H200", Target: "sm_90a", Measured: true, Source: fittedSource,
		Multiprocessors: 132, L2Bytes: 60 << 20, MemoryGBs: 4300, LaunchMicros: 4, Rates: h200sm90, Lists: h200lists90, Index: h200index,
	},
	{
		Name: "A100", Target: "sm_80", Source: "the H200's rates a clock cycle, at A100's clock and units; not measured",
		Multiprocessors: 108, L2Bytes: 40 << 20, MemoryGBs: 1700, LaunchMicros: 4, Rates: a100sm80(h200sm80),
		Lists: h200lists80.slower(a100Slower),
		Index: h200index.slower(a100Slower),
	},
}

// Machines lists the known machines, in a fixed order.
func Machines() []Machine { return slices.Clone(machines) }

// MachineFor finds the machine of a device that runs the target's code. A device with fewer multiprocessors than usual, or
// a part of one, is priced with the multiprocessors it has. False: the device is not known.
func MachineFor(d Device, target string) (Machine, bool) {
	for _, m := range machines {
		if m.Target == target && strings.Contains(strings.ToUpper(d.Name), m.Name) {
			return m.on(d), true
		}
	}
	return Machine{}, false
}

// MachineLike is MachineFor, or for an unknown device the first machine that runs the target's code: what two kernels cost
// beside each other differs less between devices than what they cost. False: no machine runs it.
func MachineLike(d Device, target string) (Machine, bool) {
	if m, ok := MachineFor(d, target); ok {
		return m, true
	}
	for _, m := range machines {
		if m.Target == target {
			return m.on(d), true
		}
	}
	return Machine{}, false
}

// on is m with the numbers of a device.
func (m Machine) on(d Device) Machine {
	if d.Multiprocessors > 0 {
		m.Multiprocessors = d.Multiprocessors
	}
	if d.L2Bytes > 0 {
		m.L2Bytes = d.L2Bytes
	}
	return m
}

// a100Slower is how much longer a clock cycle of an A100 is.
const a100Slower = 1.75 / 1.41

// a100sm80 carries rates over from an H200. Both read 128 bytes of shared memory and do 16 exponentials a cycle and
// multiprocessor, at 1.41 and about 1.75 GHz (under load; 1.83 nominal). On an A100 mma.sync has no faster sibling: it is given
// the published peak of 312 TFLOP/s on 108 multiprocessors.
func a100sm80(r Rates) Rates {
	r.TensorTFLOPS = 312.0 / 108
	for _, t := range []*float64{&r.LoadNanos, &r.SoftmaxPicos, &r.MaskPicos, &r.TileNanos, &r.RowNanos} {
		*t *= a100Slower
	}
	return r
}
