// Package cuda is the runtime driver for NVIDIA GPUs: pure Go over the driver library libcuda.so.1, opened when first
// needed. It needs no C compiler and no CUDA toolkit, and a program that imports it runs on machines without a GPU.
//
// A device is the GPU's primary context, which it shares with everything else in the process (the CUDA runtime, PyTorch):
// device pointers, streams and events of either side are valid on the other. The calling thread's own current context is
// put back after every call.
package cuda
