package plans

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/plan"
)

// TestPublished: every plan is whole, says where it is from, and is found by each of its names.
func TestPublished(t *testing.T) {
	all, err := All()
	require.NoError(t, err)
	sizes := map[string][2]int{ // layers and query heads, as the models' own configurations have them
		"gradientai/Llama-3-8B-Instruct-262k": {32, 32}, "THUDM/glm-4-9b-chat-1m": {40, 32}, "01-ai/Yi-9B-200K": {48, 32},
		"microsoft/Phi-3-mini-128k-instruct": {32, 32}, "Qwen/Qwen2-7B-Instruct": {28, 28},
	}
	require.Len(t, all, len(sizes))
	for _, p := range all {
		require.Contains(t, p.Source, "MInference 1.0 (arXiv 2407.02490), MIT License, Copyright (c) Microsoft Corporation")
		for _, name := range p.Models {
			require.True(t, Has(name))
			found, err := Find(name)
			require.NoError(t, err)
			require.Equal(t, name, found.Model)
			want := sizes[p.Models[0]]
			require.Equal(t, want, [2]int{len(found.Layers), found.Heads}, name)
			for i := range found.Layers {
				heads, _, err := found.Assign(i, found.Heads)
				require.NoError(t, err)
				require.False(t, slices.ContainsFunc(heads, func(h plan.Head) bool { return h.Pattern == nil }))
			}
		}
	}
}

// TestBudgets: some heads by MInference's own files.
func TestBudgets(t *testing.T) {
	p, err := Find("phi-3-mini-128k-INSTRUCT")
	require.NoError(t, err)
	require.Equal(t, "vertical_slash vertical=1000 slash=6096", p.Layers[0][0].String())
	require.Equal(t, "vertical_slash vertical=500 slash=700", p.Layers[3][0].String())
	require.Equal(t, "vertical_slash vertical=100 slash=750", p.Layers[3][1].String())
	counts := map[string]int{}
	for _, layer := range p.Layers {
		for _, h := range layer {
			counts[h.String()]++
		}
	}
	require.Equal(t, 43, counts["a_shape sink=100 window=800"])
	require.Equal(t, 378, counts["vertical_slash vertical=3500 slash=100"])
	_, err = Find("Qwen2-7b-Instruckt")
	require.ErrorContains(t, err, "did you mean")
	require.False(t, Has("plan.json"))
}
