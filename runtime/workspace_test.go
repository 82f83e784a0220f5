package runtime

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/artifact/artifacttest"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// artifactOf is an artifact of a schedule, with a dense kernel beside it unless the text for that is empty, for head dim 128.
func artifactOf(t *testing.T, text, dense string, blocksPerSM int) *artifact.Artifact {
	parse := func(text string) *ir.Schedule {
		s, err := ir.ParseSchedule(text)
		require.NoError(t, err)
		return s
	}
	s, beside := parse(text), (*ir.Schedule)(nil)
	if dense != "" {
		beside = parse(dense)
		beside.Params = s.Params
	}
	a := artifacttest.Of(s, beside, blocksPerSM)
	a.Manifest.Builds[0].HeadDim = 128
	return a
}

// dynamicKernel is a kernel of a pattern that the data decides, on a device that only records launches.
func dynamicKernel(t *testing.T, text string) (*devicetest.Fake, *Loaded) {
	dev := devicetest.New()
	dev.Is.Multiprocessors = 108
	k, err := Load(dev, artifactOf(t, text, "", 0), artifact.Select{})
	require.NoError(t, err)
	return dev, k
}

// find is the only launch of a kernel.
func find(t *testing.T, dev *devicetest.Fake, entry string) devicetest.Launched {
	var all []devicetest.Launched
	for _, l := range dev.Launches {
		if l.Entry == entry {
			all = append(all, l)
		}
	}
	require.Len(t, all, 1, entry)
	return all[0]
}

// boundOf is a call of contiguous tensors in the numbers of the program.
func boundOf(t *testing.T, k *Loaded, a Call) *boundCall {
	p, err := k.Make(a)
	require.NoError(t, err)
	return p.parts[0].bound
}

const verticalSlash = `schedule vertical_slash
  param vertical = 1000 min 0
  param slash = 6096 min 0
  index logits = probe last 64
  index probe = softmax logits
  index heat = sum probe over queries
  index cols = top vertical from heat first 30
  index trace = sum probe over diagonals
  index diags = top slash from trace first 100
  tile 64x64 longest-first
  segment 0
    from runs diags
    hi   q + 1
  segment 1
    from columns cols
    except runs diags
    hi   q + 1
`

const blockSparse = `schedule block_sparse
  param topk = 100 min 0
  index mq = pool mean q
  index mk = pool mean k
  index scores = blocks mq mk
  index best = top topk from scores last 1
  tile 64x64 longest-first
  segment 0
    from blocks best
    hi   q + 1
`

// TestWorkspaceStaysSmall: a million tokens of 32 heads on 8 kv heads need less than 1 GB beside the tensors.
func TestWorkspaceStaysSmall(t *testing.T) {
	a := Call{Shape: Shape{Batch: 1, QHeads: 32, KVHeads: 8, SeqQ: 1 << 20, SeqK: 1 << 20}}
	for name, text := range map[string]string{"vertical_slash": verticalSlash, "block_sparse": blockSparse} {
		_, k := dynamicKernel(t, text)
		bytes, err := k.Workspace(a)
		require.NoError(t, err)
		t.Logf("%s: %.0f MB", name, float64(bytes)/1e6)
		require.Less(t, bytes, int64(1e9), name)
		require.Greater(t, bytes, int64(1e6), name)
	}
}

// The workspace of a call serves every smaller one: shorter, of fewer heads or with lower budgets.
func TestWorkspaceOfTheLargestCallServesAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, text := range []string{verticalSlash, blockSparse, blockShares} {
		_, k := weighedKernel(t, text)
		for range campaign.Few(100, 300) {
			group, budget := 1<<rng.IntN(3), map[string]int{"vertical": 4000, "slash": 8000, "topk": 300}
			small := Call{Shape: Shape{Batch: 1 + rng.IntN(3), KVHeads: 1 + rng.IntN(8), SeqQ: rng.IntN(3000 << rng.IntN(5)), SeqK: rng.IntN(3000 << rng.IntN(5))}, Part: Part{Params: map[string]int64{}}}
			small.QHeads, small.QOffset, small.NoFallback = small.KVHeads*group, rng.IntN(100), rng.IntN(2) == 0
			large := small
			large.Params = map[string]int64{}
			for _, name := range k.patterns[0].headParams {
				small.Params[name] = int64(rng.IntN(budget[name]) * rng.IntN(2))
				large.Params[name] = small.Params[name]
			}
			switch name := k.patterns[0].headParams[rng.IntN(len(k.patterns[0].headParams))]; rng.IntN(5) {
			case 0:
				large.Batch++
			case 1:
				large.KVHeads, large.QHeads = large.KVHeads+1, large.QHeads+group
			case 2:
				large.SeqQ += rng.IntN(200)
			case 3:
				large.SeqK += rng.IntN(200)
			default:
				large.Params[name] += int64(rng.IntN(budget[name]))
			}
			k.patterns[0].scratchBytes = 1 << (17 + rng.IntN(10))
			k.prepared.forget()
			less, err := k.Workspace(small)
			require.NoError(t, err)
			more, err := k.Workspace(large)
			require.NoError(t, err)
			require.LessOrEqual(t, less, more, "%s: %+v, then %+v, %d bytes of scratch", k.patterns[0].schedule.Name, small, large, k.patterns[0].scratchBytes)
		}
	}
}

// Buffers lie one behind the other, aligned, and hold what their kernels write.
func TestBuffersDoNotOverlap(t *testing.T) {
	_, k := dynamicKernel(t, verticalSlash)
	a := Call{Shape: Shape{Batch: 2, QHeads: 6, KVHeads: 2, SeqQ: 300, SeqK: 400, QOffset: 100}}
	x := boundOf(t, k, a)
	bytes, err := k.Workspace(a)
	require.NoError(t, err)
	type place struct {
		name       string
		start, end int64
	}
	var places []place
	for _, b := range k.patterns[0].program.Buffers {
		p := place{b.Name, x.at(b.Name), x.at(b.Name) + x.Extent(b.Name).Bytes}
		require.Zero(t, p.start%ir.BufferAlign, b.Name)
		require.LessOrEqual(t, p.end, bytes, b.Name)
		require.Empty(t, b.Over, "nothing of this pattern lies over something else")
		for _, other := range places {
			require.True(t, other.start >= p.end || p.start >= other.end, "%s and %s", other, p)
		}
		places = append(places, p)
	}
	size := func(name string) int64 { return x.Extent(name).Bytes }
	h := int64(12)
	require.Equal(t, h*448*4, size("col_sum"))
	require.Equal(t, h*(448+128)*4, size("diag_sum"))
	require.Equal(t, h*(448+64)*4, size("i_cols_cols"), "the budget is beyond the 400 keys")
	require.Equal(t, h*(448+64)*128*2, size("i_cols_kc"))
	require.Equal(t, h*(400/64+2)*4, size("i_diags_runs"))
}

func TestLargeCallsAreRefused(t *testing.T) {
	for want, c := range map[string]struct {
		text string
		a    Call
	}{
		"Batch times QHeads of a pattern that data decides is 65536, want at most 65535": {verticalSlash, Call{Shape: Shape{Batch: 64, QHeads: 1024, KVHeads: 1024, SeqQ: 1, SeqK: 1}}},
		"SeqK of chosen blocks is 2097153, want at most 2097152":                         {blockSparse, Call{Shape: Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 1, SeqK: 1<<21 + 1}}},
		"the number of chosen columns in all heads is": {verticalSlash, Call{
			Shape: Shape{Batch: 64, QHeads: 64, KVHeads: 1, SeqQ: 1 << 20, SeqK: 1 << 20},
			Part:  Part{Params: map[string]int64{"vertical": 1e6}},
		}},
	} {
		_, k := dynamicKernel(t, c.text)
		_, err := k.Workspace(c.a)
		require.ErrorIs(t, err, device.ErrBadCall)
		require.ErrorContains(t, err, want)
	}
}

// sharing are the shared bytes of the kernels of a probe, by size.
var sharing = map[string]int{"probe_stats.1": 40, "probe_stats.2": 60, "probe_stats.4": 100, "probe_sums.1": 50, "probe_sums.2": 70, "probe_sums.4": 120}

// loadWithRoom loads vertical_slash on a device with so much shared memory.
func loadWithRoom(t *testing.T, room int) (*devicetest.Fake, *Loaded, error) {
	a, dev := artifactOf(t, verticalSlash, "", 0), devicetest.New()
	for _, u := range a.Manifest.Patterns[0].Lowered[0].Kernels {
		a.Manifest.Codes[u.Code].SharedBytes = sharing[u.Name]
	}
	dev.Is.MaxSharedBytes, dev.Is.Multiprocessors = room, 108
	k, err := Load(dev, a, artifact.Select{})
	return dev, k, err
}

// Both kernels of a probe cut the heads alike, so a size counts only where the device has room for both; and their blocks take the heads
// that share keys, as far as there is room.
func TestSizesOfAProbe(t *testing.T) {
	for room, most := range map[int]int{1000: 4, 120: 4, 110: 2, 100: 2, 70: 2, 65: 1, 50: 1} {
		for group, want := range map[int]int{1: 1, 2: 2, 3: 4, 4: 4, 8: 4} {
			dev, k, err := loadWithRoom(t, room)
			require.NoError(t, err)
			a := bigCall(1000)
			a.QHeads, a.KVHeads = 2*group, 2
			require.NoError(t, k.LaunchIndex(nil, a))
			want := min(want, most)
			var probes []string
			for _, l := range dev.Launches {
				if strings.HasPrefix(l.Entry, "probe_s") {
					probes = append(probes, l.Entry)
					require.EqualValues(t, 2*ceilDiv(group, want), l.Grid[1])
				}
			}
			require.Equal(t, []string{fmt.Sprint("probe_stats_", want), fmt.Sprint("probe_sums_", want)}, probes, "%d bytes, %d heads", room, group)
		}
	}
	for room, kernel := range map[int]string{39: "probe_stats", 49: "probe_sums"} {
		dev, _, err := loadWithRoom(t, room)
		require.ErrorIs(t, err, artifact.ErrTarget)
		require.ErrorContains(t, err, fmt.Sprintf("the kernel %s needs more shared memory a block than the %d bytes of a fake A100", kernel, room))
		require.Zero(t, dev.Live)
	}
}
