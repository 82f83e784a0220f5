package artifact

import (
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Recall is what measures the share of the attention mass that calls kept, for one head dim and type: a program, and kernels by the names
// that it has for them. It has no file: package compile makes it, package runtime loads it.
type Recall struct {
	HeadDim int
	DType   abi.DType
	Program *ir.Program // its parameters are passes.RecallParams
	Kernels []Use
	Codes   []Code
	Modules [][]byte // PTX text
}

// Params finds the parameters of a kernel.
func (r *Recall) Params(name string) ([]Param, bool) {
	for _, u := range r.Kernels {
		if u.Name == name {
			return r.Codes[u.Code].Params, true
		}
	}
	return nil, false
}
