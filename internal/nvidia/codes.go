package nvidia

import "github.com/minfc/minfc/runtime/device"

// CUresult values that code of the drivers names.
const (
	CodeOutOfMemory = 2
	CodeStub        = 34
	CodeNoDevice    = 100
)

// codes says of a CUresult which of runtime's kinds it is, if any, and what a person can do about it.
var codes = map[int]struct {
	kind   error
	advice string
}{
	1:               {kind: device.ErrBadCall}, // invalid value
	CodeOutOfMemory: {device.ErrOutOfMemory, "free memory of the GPU (nvidia-smi shows who holds it), or use another GPU"},
	3:               {kind: device.ErrNoDevice}, // not initialised
	4:               {kind: device.ErrClosed},   // shutting down
	CodeStub:        {device.ErrNoDevice, "it is the toolkit's stand-in for linking: take its folder out of LD_LIBRARY_PATH, and install the NVIDIA driver"},
	46:              {device.ErrDevice, "another process holds the GPU alone (nvidia-smi shows its compute mode and processes): wait for it, or use another GPU"},
	CodeNoDevice:    {device.ErrNoDevice, "check nvidia-smi and CUDA_VISIBLE_DEVICES"},
	101:             {kind: device.ErrNoDevice}, // invalid device
	102:             {device.ErrDevice, "the virtual GPU has no licence: see the service nvidia-gridd"},
	209:             {kind: device.ErrUnsupported}, // no binary for this GPU
	214:             {device.ErrDevice, "the GPU's memory has an error that cannot be corrected: reset the GPU (nvidia-smi --gpu-reset) or restart the machine"},
	221:             {device.ErrUnsupported, "the driver's PTX compiler is missing: install libnvidia-ptxjitcompiler of the driver's version"},
	222:             {device.ErrUnsupported, "the driver is too old for this version of PTX: update it"},
	304:             {device.ErrDevice, "the operating system refused: check that this user may open /dev/nvidia*"},
	701:             {kind: device.ErrUnsupported}, // too many resources asked for a launch
	800:             {device.ErrDevice, "the GPU is not this process's to use: check its compute mode with nvidia-smi"},
	801:             {kind: device.ErrUnsupported}, // not supported
	802:             {device.ErrDevice, "machines with NVSwitch need the service nvidia-fabricmanager, of the driver's version: start it, and wait until nvidia-smi -q says that the fabric is ready"},
	803:             {device.ErrDevice, "the driver's library and its kernel module are of different versions, as after an update: restart the machine, or load the module again"},
	804:             {device.ErrDevice, "a library of CUDA's compatibility package comes before the driver's, and this GPU cannot use it: take the folder compat out of LD_LIBRARY_PATH, or update the driver"},
	805:             {device.ErrDevice, "the MPS server cannot be reached: start nvidia-cuda-mps-control, or unset CUDA_MPS_PIPE_DIRECTORY"},
	999:             {advice: "the driver gives no reason: see dmesg for NVRM and Xid, check that this user may open /dev/nvidia*, and load the module nvidia_uvm again, or restart the machine"},
}
