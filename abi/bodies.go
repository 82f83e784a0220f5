package abi

import "fmt"

// Body is how a kernel of attention is cut up for head dims up to MaxHeadDim: its code, its tiles and its price follow from it.
type Body struct {
	MaxHeadDim  int
	Rows, Keys  int // of a step of a block
	Warps       int // of a block
	BlocksPerSM int // that run at a time
}

// Bodies are the kernels of a target, each list by rising head dim.
type Bodies struct {
	Ranges []Body // schedules of ranges alone
	Lists  []Body // schedules that read lists
	Runs   []Body // schedules that read runs or columns and no blocks, where they have bodies of their own
}

// AttentionBodies are the kernels of each target. Why they are cut so stands beside their code: docs/sm80.md and docs/sm90.md.
var AttentionBodies = map[string]Bodies{
	"sm_80": {
		Ranges: []Body{{64, 128, 128, 4, 2}, {96, 128, 64, 4, 2}, {112, 64, 64, 4, 3}, {128, 128, 64, 4, 2}, {192, 128, 64, 8, 1}, {256, 64, 64, 4, 2}},
		Lists:  []Body{{64, 64, 128, 2, 4}, {96, 64, 64, 2, 4}, {112, 64, 64, 4, 2}, {128, 64, 64, 2, 4}, {256, 64, 64, 4, 2}},
	},
	"sm_90a": {
		Ranges: []Body{{64, 192, 128, 16, 1}, {128, 128, 128, 12, 1}, {192, 128, 96, 12, 1}, {256, 128, 80, 12, 1}},
		Lists:  []Body{{64, 64, 128, 8, 2}, {128, 64, 128, 8, 2}, {192, 64, 64, 8, 2}, {256, 64, 64, 8, 1}},
		Runs:   []Body{{64, 128, 128, 12, 1}, {128, 128, 128, 12, 1}},
	},
}

// RangeBody is the body of a target's kernels without lists for a head dim.
func RangeBody(target string, headDim int) (Body, error) {
	return bodyOf(target, headDim, AttentionBodies[target].Ranges)
}

// ListBody is the body of a target's kernels with lists for a head dim; blocks says that they read lists of blocks.
func ListBody(target string, headDim int, blocks bool) (Body, error) {
	of := AttentionBodies[target]
	if !blocks {
		if b, err := bodyOf(target, headDim, of.Runs); err == nil {
			return b, nil
		}
	}
	return bodyOf(target, headDim, of.Lists)
}

func bodyOf(target string, headDim int, table []Body) (Body, error) {
	for _, b := range table {
		if headDim <= b.MaxHeadDim {
			return b, nil
		}
	}
	return Body{}, fmt.Errorf("there is no kernel for target %s and head dim %d", target, headDim)
}
