package runtime

import (
	"fmt"
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// KernelParam is one parameter of a PTX entry.
type KernelParam = ir.KernelParam

// verifyParams checks the list of a kernel's parameters by itself.
func verifyParams(params []KernelParam) error {
	for i, p := range params {
		if abi.ParamBytes[p.Type] == 0 {
			return fmt.Errorf("kernel parameter %q has type %q, want ptr, i64, i32, f32, map or heads", p.Name, p.Type)
		}
		if slices.ContainsFunc(params[:i], func(q KernelParam) bool { return q.Name == p.Name }) {
			return fmt.Errorf("kernel parameter %q is listed twice", p.Name)
		}
		if p.Type != abi.MapType {
			continue
		}
		if err := verifyBox(p); err != nil {
			return fmt.Errorf("kernel parameter %q: %w", p.Name, err)
		}
	}
	return nil
}

// said are the parameters that a map says, so that a kernel with it need not have them.
func said(p KernelParam) []string {
	return []string{p.Tensor, p.Tensor + "_batch", p.Tensor + "_head", p.Tensor + "_row"}
}

// verifyAsked checks that a kernel takes all that its schedule and the call ask of it: one that did not would ignore what its caller says.
func verifyAsked(params, asked []KernelParam) error {
	var there []string
	for _, p := range params {
		there = append(there, p.Name)
		if p.Type == abi.MapType {
			there = append(there, said(p)...)
		}
	}
	for _, p := range asked {
		if !slices.Contains(there, p.Name) {
			return fmt.Errorf("kernel parameter %s is missing", p.Name)
		}
	}
	return nil
}
