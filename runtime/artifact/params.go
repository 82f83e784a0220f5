package artifact

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/want"
	"github.com/minfc/minfc/ir"
)

// Param is one parameter of a PTX entry.
type Param = ir.KernelParam

// verifyParams checks the list of a kernel's parameters by itself.
func verifyParams(params []Param) error {
	for i, p := range params {
		if abi.ParamBytes[p.Type] == 0 {
			return fmt.Errorf("kernel parameter %q has type %q, want ptr, i64, i32, f32, map or heads", p.Name, p.Type)
		}
		if slices.ContainsFunc(params[:i], func(q Param) bool { return q.Name == p.Name }) {
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
func said(p Param) []string {
	return []string{p.Tensor, p.Tensor + "_batch", p.Tensor + "_head", p.Tensor + "_row"}
}

// verifyAsked checks that a kernel takes all that its schedule and the call ask of it, each of its type: a kernel that did not would ignore
// what its caller says.
func verifyAsked(params, asked []Param) error {
	there := map[string]string{} // types
	for _, p := range params {
		there[p.Name] = p.Type
		if p.Type == abi.MapType {
			for _, name := range said(p) {
				there[name] = ""
			}
		}
	}
	var missing []string
	for _, p := range asked {
		switch kind, is := there[p.Name]; {
		case !is:
			missing = append(missing, p.Name)
		case kind != "" && kind != p.Type:
			return fmt.Errorf("kernel parameter %q has type %q, want %s", p.Name, kind, p.Type)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("kernel parameters are missing: %s", strings.Join(missing, ", "))
	}
	return nil
}

// What one copy takes of a tensor at most: a row of a box fits the 128-byte swizzle, and TMA takes 256 of them.
const (
	mapColumns = 64
	mapRows    = 256
)

// verifyBox says whether one copy can take the box.
func verifyBox(p Param) error {
	return want.All(
		want.That(want.Multiple(p.Box[0], 8, 8, mapColumns), "columns of its box", fmt.Sprint(p.Box[0]), "a multiple of 8 from 8 to 64"),
		want.That(want.Multiple(p.Box[1], 1, 1, mapRows), "rows of its box", fmt.Sprint(p.Box[1]), "1 to 256"),
	)
}
