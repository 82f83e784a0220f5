package runtime

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Stage is one kernel that works before an attention kernel: what the data chose is computed on the device. Its kind says
// what it does, when it runs and what its parameters mean.
type Stage struct {
	Kind        string        `json:"kind"`
	Heads       int           `json:"heads,omitempty"` // q heads of one kv head that a block takes, for kinds that come in several sizes
	Entry       string        `json:"entry"`
	Threads     int           `json:"threads"` // threads of one block, or the most it can have
	SharedBytes int           `json:"shared_bytes"`
	Module      int           `json:"module"` // index in Artifact.Modules
	Params      []KernelParam `json:"params"` // in the order of the PTX entry
}

// The kinds of stages.
const (
	StageStoreWords   = "store_words"   // budgets to the device
	StageProbeStats   = "probe_stats"   // softmax of the last queries: maxima and sums of parts
	StageProbeCombine = "probe_combine" // and of whole rows
	StageProbeSums    = "probe_sums"    // its sums over queries and over diagonals
	StageClear        = "clear"         // sums to 0

	StageProbeStatsSpread = "probe_stats_spread" // the same of any queries
	StageProbeSumsSpread  = "probe_sums_spread"  // sums that are added to what is there

	StageSelectTop    = "select_top"   // the largest sums, as bitmaps
	StageSelectMass   = "select_mass"  // those that hold a share of all
	StageSelectAbove  = "select_above" // those above a threshold
	StageRuns         = "runs"         // tiles that cover chosen distances
	StageColumns      = "columns"      // chosen columns as a list
	StageCompact      = "compact"      // their K and V
	StagePoolMean     = "pool_mean"    // blocks of rows to one
	StagePoolMax      = "pool_max"
	StageBlockScores  = "block_scores"  // products of pooled rows
	StageSquareScores = "square_scores" // products along the antidiagonals of squares, by block
	StageBlockShares  = "block_shares"  // their softmax
	StageBlockSelect  = "block_select"  // the largest of each row block, as lists

	StageBlockSelectMass  = "block_select_mass"  // those that hold a share of all
	StageBlockSelectAbove = "block_select_above" // those above a threshold

	StageDecide = "decide" // which heads are faster without sparsity
)

// stageKind is what the runtime knows of a kind: the parameters it computes itself (own), and those it has in common with
// attention kernels.
type stageKind struct {
	name   string
	own    []KernelParam
	common []string
	sized  bool // comes in several sizes, see Stage.Heads
}

// probeHeads are the sizes in which the kernels of the probe come.
var probeHeads = []int{1, 2, 4}

// storeWordsCount is how many words one launch of store_words writes; the parameters hold two each.
const storeWordsCount = 64

var stageKinds = []stageKind{
	{StageStoreWords, storeWordsParams(), nil, false},
	{StageProbeStats, typed("ptr probe_stats heads i32 chunk_tiles"), probeCommon, true},
	{StageProbeCombine, typed("ptr probe_stats probe_lse heads i32 chunks"), []string{"hq", "scale_log2"}, false},
	{StageProbeSums, typed("ptr probe_lse col_sum diag_sum heads i32 chunk_tiles"), probeCommon, true},
	{StageProbeStatsSpread, typed("ptr probe_stats heads i32 chunk_tiles" + spreadParams), probeCommon, true},
	{StageProbeSumsSpread, typed("ptr probe_lse col_sum diag_sum heads i32 chunk_tiles" + spreadParams), probeCommon, true},
	{StageClear, typed("ptr to i64 n"), nil, false},
	{StageSelectTop, selectParams("", ""), []string{"hq"}, false},
	{StageSelectMass, selectParams(" most", " unit"), []string{"hq"}, false},
	{StageSelectAbove, selectParams(" most", ""), []string{"hq"}, false},
	{StageRuns, typed("ptr dist_bits runs run_count covered heads i32 words run_cap cover_words"), nil, false},
	{StageColumns, typed("ptr col_bits cols col_count heads i32 words col_cap"), nil, false},
	{StageCompact, typed("ptr cols col_count kc vc i32 col_cap"),
		[]string{"k", "v", "k_batch", "k_head", "k_row", "v_batch", "v_head", "v_row", "group", "hq"}, false},
	{StagePoolMean, poolParams, nil, false},
	{StagePoolMax, poolParams, nil, false},
	{StageBlockScores, typed("ptr pooled_q pooled_k scores heads i32 slab_start slab"), []string{"sq", "sk", "q_offset", "group"}, false},
	{StageSquareScores, typed("ptr scores sums heads i32 slab_start slab fold f32 scale"),
		[]string{"q", "k", "q_batch", "q_head", "q_row", "k_batch", "k_head", "k_row", "sq", "sk", "q_offset", "group", "hq"}, false},
	{StageBlockShares, typed("ptr scores sums shares heads i32 slab_start slab fold f32 scale"), []string{"sq", "sk", "q_offset"}, false},
	{StageBlockSelect, typed("ptr scores" + blockSelectParams), []string{"hq", "sq", "sk", "q_offset"}, false},
	{StageBlockSelectMass, typed("ptr block_most scores" + blockSelectParams), []string{"hq", "sq", "sk", "q_offset"}, false},
	{StageBlockSelectAbove, typed("ptr block_most scores" + blockSelectParams), []string{"hq", "sq", "sk", "q_offset"}, false},
	{StageDecide, typed("ptr route nanos runs run_count cols col_count block_count heads " +
		"i32 run_cap run_low run_reach col_cap col_high col_near row_blocks carry f32 start slot column dense"), []string{"sq", "q_offset"}, false},
}

const spreadParams = " row0 probe_rows step class_tiles tiles"

const blockSelectParams = " block_n blocks block_count heads i32 slab_start slab block_cap first last"

// selectParams are those of the kernels that choose columns and distances: two jobs with these pointers and numbers more.
func selectParams(pointers, numbers string) []KernelParam {
	out := typed("ptr heads")
	for _, job := range []string{"a_", "b_"} {
		for _, p := range typed("ptr values bits budget" + pointers + " i32 first last n stride" + numbers) {
			p.Name = job + p.Name
			out = append(out, p)
		}
	}
	return out
}

var (
	probeCommon = []string{"q", "k", "q_batch", "q_head", "q_row", "k_batch", "k_head", "k_row", "sq", "sk", "q_offset", "group", "hq", "scale_log2"}
	poolParams  = typed("ptr x out heads i64 x_batch x_head x_row i32 n q_heads")
)

func storeWordsParams() []KernelParam {
	out := typed("ptr to")
	for i := range storeWordsCount / 2 {
		out = append(out, KernelParam{Name: fmt.Sprintf("w%d", i), Type: "i64"})
	}
	return out
}

// typed reads a list of names, each type before its names: "ptr q k i32 sq".
func typed(list string) []KernelParam {
	var out []KernelParam
	kind := ""
	for _, word := range strings.Fields(list) {
		if _, isType := paramBytes[word]; isType {
			kind = word
		} else {
			out = append(out, KernelParam{Name: word, Type: kind})
		}
	}
	return out
}

// commonParams are what stages share with attention kernels, and the number of heads.
var commonParams = append(slices.Clone(attentionParams),
	scalar("hq", "i32", func(c *call) uint64 { return uint64(c.QHeads) }))

// params lists every parameter of the kind; those of its own have no value function.
func (k stageKind) params() []kernelParam {
	var out []kernelParam
	for _, p := range k.own {
		out = append(out, kernelParam{KernelParam: p})
	}
	for _, name := range k.common {
		i := slices.IndexFunc(commonParams, func(p kernelParam) bool { return p.Name == name })
		out = append(out, commonParams[i])
	}
	return out
}

func kindOf(name string) (stageKind, error) {
	i := slices.IndexFunc(stageKinds, func(k stageKind) bool { return k.name == name })
	if i < 0 {
		return stageKind{}, fmt.Errorf("kind %q is unknown", name)
	}
	return stageKinds[i], nil
}

func (s *Stage) verify(modules int) error {
	kind, err := kindOf(s.Kind)
	if err != nil {
		return err
	}
	heads := s.Heads == 0
	if kind.sized {
		heads = slices.Contains(probeHeads, s.Heads)
	}
	for _, c := range []check{
		{heads, "heads", fmt.Sprint(s.Heads), "1, 2 or 4 for kinds of several sizes, else none"},
		{entryName.MatchString(s.Entry), "entry", fmt.Sprintf("%q", s.Entry), "a PTX name"},
		{multiple(s.Threads, 1, 1, 1024), "threads", fmt.Sprint(s.Threads), "1 to 1024"},
		{multiple(s.SharedBytes, 1, 0, 1<<20), "shared_bytes", fmt.Sprint(s.SharedBytes), "at most 1 MB"},
		{s.Module >= 0 && s.Module < modules, "module", fmt.Sprint(s.Module), fmt.Sprintf("one of the file's %d", modules)},
	} {
		if err := c.err(); err != nil {
			return err
		}
	}
	_, err = matchParams(s.Params, kind.params())
	return err
}

// verifyStages checks every stage, and that there is one of every kind that the index stage needs.
func (k *Kernel) verifyStages(modules int, plan *indexPlan) error {
	for i := range k.Stages {
		if err := k.Stages[i].verify(modules); err != nil {
			return fmt.Errorf("stage %d (%s): %w", i, k.Stages[i].Kind, err)
		}
	}
	for _, kind := range plan.kinds() {
		if !slices.ContainsFunc(k.Stages, func(s Stage) bool { return s.Kind == kind }) {
			return fmt.Errorf("a stage is missing: %s", kind)
		}
	}
	return nil
}

// loadedStage is a stage on a device.
type loadedStage struct {
	Stage
	function Function
	params   []kernelParam
}

// stageModules are the modules of stages on a device, each loaded once for all kernels that share it.
type stageModules struct {
	dev    Device
	art    *Artifact
	loaded map[int]Module
}

func newStageModules(dev Device, a *Artifact) *stageModules {
	return &stageModules{dev, a, map[int]Module{}}
}

func (m *stageModules) module(n int) (Module, error) {
	if m.loaded[n] == nil {
		module, err := m.dev.LoadModule(m.art.Modules[n])
		if err != nil {
			return nil, err
		}
		m.loaded[n] = module
	}
	return m.loaded[n], nil
}

func (m *stageModules) unload() error {
	var errs []error
	for _, module := range m.loaded {
		errs = append(errs, module.Unload())
	}
	return errors.Join(errs...)
}

// besides are the kinds that work on one cut of the heads: of several sizes, both must be the same.
var besides = map[string]string{
	StageProbeStats: StageProbeSums, StageProbeSums: StageProbeStats,
	StageProbeStatsSpread: StageProbeSumsSpread, StageProbeSumsSpread: StageProbeStatsSpread,
}

// fits says whether a block of s, and of what works beside it, has room on the device.
func (k *Kernel) fits(s Stage, dev DeviceInfo) bool {
	other, paired := besides[s.Kind]
	return s.SharedBytes <= dev.MaxSharedBytes && (!paired || slices.ContainsFunc(k.Stages, func(o Stage) bool {
		return o.Kind == other && o.Heads == s.Heads && o.SharedBytes <= dev.MaxSharedBytes
	}))
}

// load loads a stage.
func (m *stageModules) load(s Stage) (*loadedStage, error) {
	kind, err := kindOf(s.Kind)
	if err != nil {
		return nil, err
	}
	l := &loadedStage{Stage: s}
	if l.params, err = matchParams(s.Params, kind.params()); err != nil {
		return nil, err
	}
	module, err := m.module(s.Module)
	if err != nil {
		return nil, err
	}
	l.function, err = module.Function(s.Entry)
	return l, err
}

// loadStages loads what the index stage of the kernel needs.
func (k *LoadedKernel) loadStages(modules *stageModules) error {
	for _, s := range k.info.Stages {
		if !k.info.fits(s, modules.dev.Info()) {
			continue
		}
		l, err := modules.load(s)
		if err != nil {
			return fmt.Errorf("load kernel %s: %w", s.Entry, err)
		}
		k.stages = append(k.stages, l)
	}
	for _, kind := range k.plan.kinds() {
		if k.stage(kind, 1) == nil {
			return fmt.Errorf("%w: %w: the kernel %s needs more shared memory a block than the %d bytes of %s",
				ErrTarget, ErrUnsupported, kind, modules.dev.Info().MaxSharedBytes, modules.dev.Info().Name)
		}
	}
	return nil
}

// stage is the loaded stage of a kind that suits groups of q heads that share a kv head: of several sizes, the smallest that
// takes the whole group, else the largest.
func (k *LoadedKernel) stage(kind string, group int) (best *loadedStage) {
	for _, s := range k.stages {
		switch {
		case s.Kind != kind:
		case best == nil, best.Heads < group && s.Heads > best.Heads, s.Heads >= group && s.Heads < best.Heads:
			best = s
		}
	}
	return best
}

// launch enqueues the stage; own holds the values of its own parameters.
func (s *loadedStage) launch(stream Stream, c *call, grid [3]uint32, threads int, own map[string]uint64) error {
	args := packArguments(s.params, func(i int) uint64 {
		p := s.params[i]
		if p.value != nil {
			return p.value(c)
		}
		return own[p.Name]
	})
	if threads == 0 {
		threads = s.Threads
	}
	l := Launch{Grid: grid, Block: [3]uint32{uint32(threads), 1, 1}, SharedBytes: s.SharedBytes}
	if err := s.function.Launch(l, args, stream); err != nil {
		return fmt.Errorf("launch %s: %w", s.Kind, err)
	}
	return nil
}
