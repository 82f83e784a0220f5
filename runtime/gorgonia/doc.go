// Package gorgonia is the runtime driver "gorgonia": it reaches the GPU through gorgonia.org/cu, for programs that
// already hold cu contexts, streams and device pointers. Wrap makes a device.Device of a context the program owns.
//
// The package is empty unless the program is built with the tag gorgonia:
//
//	go build -tags gorgonia
//
// The tag exists because cu is no dependency to hand to everyone: it is cgo, it needs cuda.h to compile and libcuda to link,
// and its init ends the process where there is no NVIDIA driver. Programs without cu should use the cuda driver, which
// needs none of these.
//
// cu v0.9.6 compiles against the headers of CUDA 12, and not against the headers of CUDA 13, where cuCtxCreate, cuMemAdvise and
// cuMemPrefetchAsync take other parameters. The built program runs with any driver that serves CUDA 12, newer ones included.
package gorgonia
