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
func named(g *artifact.Code, name string) *artifact.Param {
	i := slices.IndexFunc(g.Params, func(p artifact.Param) bool { return p.Name == name })
	return &g.Params[i]
}

// checkSpoilt spoils a copy of a good artifact and wants an error.
func checkSpoilt(t *testing.T, good *artifact.Artifact, want string, spoil func(m *artifact.Manifest, g *artifact.Code)) {
	data, err := good.Encode()
	require.NoError(t, err)
	bad, err := artifact.Read(data)
	require.NoError(t, err)
	spoil(&bad.Manifest, &bad.Manifest.Codes[bad.Manifest.Builds[0].Groups[0]])
	err = bad.Verify()
	require.ErrorIs(t, err, artifact.ErrManifest)
	require.ErrorContains(t, err, want)
}

// TestBadGroups: an artifact whose groups do not fit its members is refused before anything is loaded.
func TestBadGroups(t *testing.T) {
	heads := sharedPatterns([]plan.Head{head(t, "a_shape"), head(t, "vertical_slash")})
	good := group(t, "sm_90a", 64, heads)
	require.NoError(t, good.Verify())
	for want, spoil := range map[string]func(m *artifact.Manifest, g *artifact.Code){
		"it has 0 patterns for 1 targets":         func(m *artifact.Manifest, g *artifact.Code) { m.Patterns = nil },
		"it has 2 patterns for 0 targets":         func(m *artifact.Manifest, g *artifact.Code) { m.Builds = nil },
		"pattern is 7, want one of 2":             func(m *artifact.Manifest, g *artifact.Code) { g.Sections[0].Pattern = 7 },
		`"s9_p_breadth" is of a section`:          func(m *artifact.Manifest, g *artifact.Code) { named(g, "s0_p_window").Name = "s9_p_breadth" },
		"kernel parameters are missing: p_window": func(m *artifact.Manifest, g *artifact.Code) { named(g, "s0_p_window").Name = "s0_p_breadth" },
		`section 0: kernel parameter "p_breadth" is unknown`: func(m *artifact.Manifest, g *artifact.Code) {
			g.Params = append(g.Params, artifact.Param{Name: "s0_p_breadth", Type: "i32"})
		},
		`section 0: kernel parameter "queue" is unknown`: func(m *artifact.Manifest, g *artifact.Code) {
			g.Params = append(g.Params, artifact.Param{Name: "s0_queue", Type: "ptr"})
		},
		`section 1: kernel parameter "k_map" is unknown`: func(m *artifact.Manifest, g *artifact.Code) {
			g.Params = append(g.Params, abi.MapParam("s1_k_map", "s0_i_cols_kc", 64, 64))
		},
		`kernel parameter "breadth" is unknown`: func(m *artifact.Manifest, g *artifact.Code) {
			g.Params = append(g.Params, artifact.Param{Name: "breadth", Type: "i32"})
		},
		`kernel parameter "rows" has type "ptr"`:      func(m *artifact.Manifest, g *artifact.Code) { named(g, "s1_rows").Type = "ptr" },
		`kernel parameter "s1_rows" has type ""`:      func(m *artifact.Manifest, g *artifact.Code) { named(g, "s1_rows").Type = "" },
		`kernel parameter "s1_head0" is listed twice`: func(m *artifact.Manifest, g *artifact.Code) { named(g, "s1_rows").Name = "s1_head0" },
		"kernel parameters are missing: lse_head": func(m *artifact.Manifest, g *artifact.Code) {
			g.Params = slices.DeleteFunc(g.Params, func(p artifact.Param) bool { return p.Name == "lse_head" })
		},
		"section 1: kernel parameters are missing: i_cols_kc, i_cols_vc": func(m *artifact.Manifest, g *artifact.Code) {
			for i := range g.Params {
				if strings.HasSuffix(g.Params[i].Tensor, "_kc") || strings.HasSuffix(g.Params[i].Tensor, "_vc") {
					g.Params[i].Tensor = strings.Replace(g.Params[i].Tensor, "s1_", "s0_", 1)
				}
			}
		},
		"blocks_per_sm is 1, want 0 without lists": func(m *artifact.Manifest, g *artifact.Code) { g.Sections[0].BlocksPerSM = 1 },
		"tiles is 0":     func(m *artifact.Manifest, g *artifact.Code) { g.Sections[1].Tiles = 0 },
		"tile_rows is 7": func(m *artifact.Manifest, g *artifact.Code) { g.Sections[1].TileRows = 7 },
		"module is 99":   func(m *artifact.Manifest, g *artifact.Code) { g.Module = 99 },
		"pattern 1 (dense: true) has no kernel and no section": func(m *artifact.Manifest, g *artifact.Code) {
			g.Sections = g.Sections[:2]
			g.Params = slices.DeleteFunc(g.Params, func(p artifact.Param) bool { return strings.HasPrefix(p.Name, "s2_") })
		},
		"pattern 0 is lowered 0 times, want once for each of 1 builds": func(m *artifact.Manifest, g *artifact.Code) { m.Patterns[0].Lowered = nil },
		"there is no kernel runs":                                      func(m *artifact.Manifest, g *artifact.Code) { dropKernel(m, "runs") },
		"pattern 1: ":                                                  func(m *artifact.Manifest, g *artifact.Code) { m.Patterns[1].Text = "x" },
		"build 0: target":                                              func(m *artifact.Manifest, g *artifact.Code) { m.Builds[0].Target = "gfx90" },
		"group: code is 99":                                            func(m *artifact.Manifest, g *artifact.Code) { m.Builds[0].Groups[0] = 99 },
		"program is 7, want one of":                                    func(m *artifact.Manifest, g *artifact.Code) { m.Patterns[1].Lowered[0].Program = 7 },
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
	at := runtime.Pointers{Q: 1 << 12, K: 1 << 14, V: 1 << 16, O: 1 << 18, Workspace: 1 << 20}
	for _, noFallback := range []bool{true, false} {
		p, prepareErr := l.Prepare(runtime.Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 100, SeqK: 200, QOffset: 100, NoFallback: noFallback})
		if err = prepareErr; err == nil {
			at.WorkspaceBytes = p.Workspace()
			err = p.Run(nil, at)
		}
	}
	return err
}

func dropKernel(m *artifact.Manifest, name string) {
	for i := range m.Patterns[1].Lowered {
		l := &m.Patterns[1].Lowered[i]
		l.Kernels = slices.DeleteFunc(l.Kernels, func(u artifact.Use) bool { return u.Name == name })
	}
}
