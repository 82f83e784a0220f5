package flags

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/passes"
	"github.com/minfc/minfc/runtime/device"
)

// Words are values that may follow flags, by the name of the flag: the ones that the grammar of the command line does not list.
func Words() map[string][]string {
	words := map[string][]string{"target": Targets(), "dtype": DTypes(), "device": append([]string{"auto"}, device.Drivers()...),
		"emit": compile.Forms, "print-after": {everyPass}}
	for _, k := range workload.Kinds() {
		words["kind"], words["workload"] = append(words["kind"], string(k)), append(words["workload"], string(k))
	}
	for _, m := range cost.Machines() {
		if !slices.Contains(words["machine"], m.Name) {
			words["machine"] = append(words["machine"], m.Name)
		}
	}
	for _, p := range passes.Table() {
		words["print-after"] = append(words["print-after"], p.Name)
	}
	return words
}

// CheckDevice says what is wrong with a value of --device, whatever devices there are.
func CheckDevice(text string) error {
	if text == "auto" {
		return nil
	}
	spec, err := device.ParseSpec(text)
	if err == nil && !slices.Contains(device.Drivers(), spec.Driver) {
		err = fmt.Errorf("--device: no driver %q, want auto or one of %s", spec.Driver, strings.Join(device.Drivers(), ", "))
	}
	return err
}

// Vars are words of the help that are known elsewhere, by the names that the tags of the commands have for them.
func Vars() map[string]string {
	return map[string]string{"targets": strings.Join(Targets(), ","),
		"dtypes": abi.JoinDTypes(" or "), "dtype": abi.JoinDTypes("|"), "headdims": abi.HeadDims()}
}
