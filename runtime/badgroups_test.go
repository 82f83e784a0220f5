package runtime_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
)

// named is a parameter of a group's kernel.
func named(g *artifact.Group, name string) *artifact.Param {
	i := slices.IndexFunc(g.Params, func(p artifact.Param) bool { return p.Name == name })
	return &g.Params[i]
}

// checkSpoilt spoils a copy of a good artifact and wants an error.
func checkSpoilt(t *testing.T, good *artifact.Artifact, want string, spoil func(m *artifact.Manifest, g *artifact.Group)) {
	data, err := good.Encode()
	require.NoError(t, err)
	bad, err := artifact.Read(data)
	require.NoError(t, err)
	spoil(&bad.Manifest, &bad.Manifest.Groups[0])
	err = bad.Verify()
	require.ErrorIs(t, err, artifact.ErrManifest)
	require.ErrorContains(t, err, want)
}

// TestBadGroups: an artifact whose groups do not fit its members is refused before anything is loaded.
func TestBadGroups(t *testing.T) {
	heads := sharedPatterns([]plan.Head{head(t, "a_shape"), head(t, "vertical_slash")})
	good := group(t, "sm_90a", 64, heads)
	require.NoError(t, good.Verify())
	for want, spoil := range map[string]func(m *artifact.Manifest, g *artifact.Group){
		"want both of them":                       func(m *artifact.Manifest, g *artifact.Group) { m.Members = nil },
		"no pattern and kernels beside":           func(m *artifact.Manifest, g *artifact.Group) { m.Pattern = m.Members[0].Pattern },
		"member is 7, want one of 2":              func(m *artifact.Manifest, g *artifact.Group) { g.Sections[0].Member = 7 },
		`"s9_p_breadth" is of a section`:          func(m *artifact.Manifest, g *artifact.Group) { named(g, "s0_p_window").Name = "s9_p_breadth" },
		"kernel parameters are missing: p_window": func(m *artifact.Manifest, g *artifact.Group) { named(g, "s0_p_window").Name = "s0_p_breadth" },
		`section 0: kernel parameter "p_breadth" is unknown`: func(m *artifact.Manifest, g *artifact.Group) {
			g.Params = append(g.Params, artifact.Param{Name: "s0_p_breadth", Type: "i32"})
		},
		`section 0: kernel parameter "queue" is unknown`: func(m *artifact.Manifest, g *artifact.Group) {
			g.Params = append(g.Params, artifact.Param{Name: "s0_queue", Type: "ptr"})
		},
		`section 1: kernel parameter "k_map" is unknown`: func(m *artifact.Manifest, g *artifact.Group) {
			g.Params = append(g.Params, abi.MapParam("s1_k_map", "s0_i_cols_kc", 64, 64))
		},
		`kernel parameter "breadth" is unknown`: func(m *artifact.Manifest, g *artifact.Group) {
			g.Params = append(g.Params, artifact.Param{Name: "breadth", Type: "i32"})
		},
		`kernel parameter "rows" has type "ptr"`:      func(m *artifact.Manifest, g *artifact.Group) { named(g, "s1_rows").Type = "ptr" },
		`kernel parameter "s1_rows" has type ""`:      func(m *artifact.Manifest, g *artifact.Group) { named(g, "s1_rows").Type = "" },
		`kernel parameter "s1_head0" is listed twice`: func(m *artifact.Manifest, g *artifact.Group) { named(g, "s1_rows").Name = "s1_head0" },
		"kernel parameters are missing: lse_head": func(m *artifact.Manifest, g *artifact.Group) {
			g.Params = slices.DeleteFunc(g.Params, func(p artifact.Param) bool { return p.Name == "lse_head" })
		},
		"section 1: kernel parameters are missing: i_cols_kc, i_cols_vc": func(m *artifact.Manifest, g *artifact.Group) {
			for i := range g.Params {
				if strings.HasSuffix(g.Params[i].Tensor, "_kc") || strings.HasSuffix(g.Params[i].Tensor, "_vc") {
					g.Params[i].Tensor = strings.Replace(g.Params[i].Tensor, "s1_", "s0_", 1)
				}
			}
		},
		"blocks_per_sm is 1, want 0 where no data decides": func(m *artifact.Manifest, g *artifact.Group) { g.Sections[0].BlocksPerSM = 1 },
		"tiles is 0":     func(m *artifact.Manifest, g *artifact.Group) { g.Sections[1].Tiles = 0 },
		"tile_rows is 7": func(m *artifact.Manifest, g *artifact.Group) { g.Sections[1].TileRows = 7 },
		"module is 99":   func(m *artifact.Manifest, g *artifact.Group) { g.Module = 99 },
		"member 1 (dense: true) has no section": func(m *artifact.Manifest, g *artifact.Group) {
			g.Sections = g.Sections[:2]
			g.Params = slices.DeleteFunc(g.Params, func(p artifact.Param) bool { return strings.HasPrefix(p.Name, "s2_") })
		},
		"member 0 has no kernel":      func(m *artifact.Manifest, g *artifact.Group) { m.Members[0].Kernels = nil },
		"there is no kernel runs":     func(m *artifact.Manifest, g *artifact.Group) { dropKernel(m, "runs") },
		"member 1: pattern: ":         func(m *artifact.Manifest, g *artifact.Group) { m.Members[1].Pattern = "x" },
		"dense is for another target": func(m *artifact.Manifest, g *artifact.Group) { m.Members[1].Kernels[0].Dense.HeadDim = 32 },
		"member 0: kernel 0: target":  func(m *artifact.Manifest, g *artifact.Group) { m.Members[0].Kernels[0].Target = "gfx90" },
	} {
		checkSpoilt(t, good, want, spoil)
	}
}

// TestMutatedGroups: whatever is changed in a manifest, what is still accepted can be loaded and launched, or says why not.
func TestMutatedGroups(t *testing.T) {
	heads := sharedPatterns([]plan.Head{head(t, "a_shape", "window", 9), head(t, "vertical_slash"), head(t, "block_sparse"), head(t, "a_shape", "window", 8)})
	good := group(t, "sm_80", 16, heads)
	text, err := good.Manifest.JSON()
	require.NoError(t, err)
	rng, accepted := rand.New(rand.NewPCG(3, 4)), 0
	cases := campaign.Cases(100, 1000, 3000)
	for range cases {
		var tree any
		require.NoError(t, json.Unmarshal(text, &tree))
		for range 1 + rng.IntN(2) {
			mutate(rng, tree)
		}
		changed, err := json.Marshal(tree)
		require.NoError(t, err)
		bad := &artifact.Artifact{Modules: good.Modules}
		if json.Unmarshal(changed, &bad.Manifest) != nil || bad.Verify() != nil {
			continue
		}
		if launchAnyhow(bad, heads) == nil {
			accepted++
		}
	}
	require.Greater(t, accepted, cases/30)
}

// mutate changes a random place of a JSON tree.
func mutate(rng *rand.Rand, at any) {
	values := []any{nil, 0.0, 1.0, -1.0, 63.0, 64.0, 1e9, "", "s0_rows", "q", "sm_80", true, []any{}, map[string]any{}}
	for {
		switch x := at.(type) {
		case map[string]any:
			if len(x) == 0 {
				return
			}
			keys := slices.Sorted(maps.Keys(x))
			key := keys[rng.IntN(len(keys))]
			if at = x[key]; rng.IntN(6) > 0 && deep(at) {
				continue
			}
			if x[key] = values[rng.IntN(len(values))]; rng.IntN(4) == 0 {
				delete(x, key)
			}
			return
		case []any:
			if len(x) == 0 {
				return
			}
			i := rng.IntN(len(x))
			if at = x[i]; rng.IntN(6) > 0 && deep(at) {
				continue
			}
			if x[i] = values[rng.IntN(len(values))]; rng.IntN(2) == 0 {
				x[i] = x[rng.IntN(len(x))]
			}
			return
		default:
			return
		}
	}
}

// deep says whether there is something below.
func deep(x any) bool {
	switch x.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// launchAnyhow loads and launches what was accepted; errors are welcome, panics are not.
func launchAnyhow(a *artifact.Artifact, heads []plan.Head) error {
	k, err := plan.Load(runtime.NewFakeDevice(), a, artifact.Select{})
	if err != nil {
		return err
	}
	defer k.Close()
	l, err := k.Bind(heads)
	if err != nil {
		return err
	}
	for _, noFallback := range []bool{true, false} {
		call := runtime.Attention{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 100, SeqK: 200, QOffset: 100, NoFallback: noFallback, Workspace: 1 << 20}
		call.Q.Ptr, call.K.Ptr, call.V.Ptr, call.O.Ptr = 1<<12, 1<<14, 1<<16, 1<<18
		if call.WorkspaceBytes, err = l.Workspace(call); err == nil {
			err = l.Launch(nil, call)
		}
	}
	return err
}

func dropKernel(m *artifact.Manifest, name string) {
	for i := range m.Members[1].Kernels {
		k := &m.Members[1].Kernels[i]
		k.Index = slices.DeleteFunc(k.Index, func(x artifact.IndexKernel) bool { return x.Name == name })
	}
}
