// Package demo chooses what a pattern runs on where no tensors are given: an input with structure that the emulator gets through in
// seconds, and parameters that mean something at its length.
package demo

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/outlook"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/summary"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/runtime"
)

// Seed is the seed of the inputs.
const Seed = 1

// Shape is the call: two query heads share a kv head.
var Shape = qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 4096, SeqK: 4096, HeadDim: 64}

// setting is what a pattern of the library runs on.
type setting struct {
	kind   workload.Kind
	params map[string]int64 // instead of defaults that keep all or nearly all of a short input
}

// settings are by the name of the pattern. Other patterns run with their own defaults.
var settings = map[string]setting{
	"a_shape":            {kind: workload.AShape},
	"sliding":            {workload.AShape, map[string]int64{"window": 1024}},
	"tri_shape":          {workload.AShape, map[string]int64{"window": 1024}},
	"dilated":            {workload.Slash, map[string]int64{"window": 2048}},
	"strided":            {kind: workload.Slash},
	"vertical_slash":     {workload.Slash, map[string]int64{"vertical": 32, "slash": 128}},
	"slash_tiles_shared": {workload.Slash, map[string]int64{"vertical": 32, "runs": 8}},
	"slash_tiles":        {workload.Slash, map[string]int64{"vertical": 32, "runs": 8}},
	"columns_window":     {workload.Columns, map[string]int64{"vertical": 48, "window": 256}},
	"block_sparse":       {workload.Blocks, map[string]int64{"topk": 8}},
	"block_means":        {workload.Diffuse, map[string]int64{"topk": 8}},
	"sink_blocks":        {workload.Blocks, map[string]int64{"topk": 8}},
	"triangle_mix":       {kind: workload.AShape},
	"most_mass":          {workload.Slash, map[string]int64{"least": 128, "limit": 512}},
	"xattention":         {kind: workload.Blocks},
	"flash_prefill":      {kind: workload.Blocks},
}

// Input makes the tensors for a pattern.
func Input(pattern string, s qkv.Shape, f abi.DType) (*qkv.Input, error) {
	kind := settings[pattern].kind
	if kind == "" {
		kind = workload.Mixed
	}
	return qkv.GenerateKind(kind, s, f, Seed)
}

// Params are the given parameters of p, and in the place of missing ones values that mean something at the length of the input. Const
// parameters are left alone: an artifact has theirs in its code.
func Params(p *ir.Pattern, given map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for _, q := range p.Params {
		if v, ok := settings[p.Name].params[q.Name]; ok && q.Binding != ir.BindConst {
			out[q.Name] = v
		}
	}
	for name, v := range given {
		out[name] = v
	}
	return out
}

// The size of the picture, in characters: of braille, so that it has twice as many dots across, four times as many down.
const (
	Width  = 16
	Height = 8
)

// Call is what the cost model is asked about: a layer of a model on a long prompt, with the parameters as given.
func Call(given map[string]int64) outlook.Call {
	return outlook.Call{Shape: runtime.Shape{Batch: 1, QHeads: 32, KVHeads: 8, SeqQ: 128 << 10, SeqK: 128 << 10}, Params: given}
}

// Model is an answer of the cost model about Call.
func Model(o outlook.Outlook) *summary.Model {
	c := Call(nil)
	return &summary.Model{Machine: o.Machine.Name, Target: o.Machine.Target, SeqLen: c.SeqQ, Heads: c.QHeads, LowMS: o.Low, HighMS: o.High, DenseMS: o.Dense}
}

// Try lists commands to go on with after p ran; program is how minfc was called.
func Try(program string, p *ir.Pattern) []string {
	other := "vertical_slash"
	if len(p.Index) > 0 {
		other = "block_sparse"
	}
	if p.Name == other {
		other = "a_shape"
	}
	priced := "a_shape"
	if _, _, ok := patterns.Source(p.Name); ok && len(p.Index) == 0 {
		priced = p.Name
	}
	return []string{
		fmt.Sprintf("%s run %s", program, other),
		fmt.Sprintf("%s bench --predict %s --seqlen 32k,128k,1m", program, priced),
		fmt.Sprintf("%s list", program),
	}
}

// Program is how a person calls the program again that runs as path: "minfc", or what go run was given.
func Program(path string) string {
	if strings.Contains(filepath.ToSlash(path), "/go-build") {
		return "go run ./cmd/minfc"
	}
	return "minfc"
}
