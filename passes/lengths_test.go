package passes

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/patterns"
)

// lengthsProgram is the program of a pattern whose kernels read lengths from device memory.
func lengthsProgram(t *testing.T, file string, src []byte) (*ir.Program, *ir.Schedule, error) {
	_, found, err := dsl.Load(file, src)
	require.NoError(t, err)
	s, err := Run(found[0], Options{Tile: Fixed(blockTile)})
	require.NoError(t, err)
	p := programOf(t, s)
	return p, s, Lengths(p)
}

// withLengths are kernelsOf, and the attention kernels' parameter.
func withLengths(s *ir.Schedule) ir.Kernels {
	all := kernelsOf(s)
	return func(name string) ([]ir.KernelParam, bool) {
		params, there := all(name)
		return abi.WithLengths(params, name == abi.Attend || name == abi.Dense), there
	}
}

// Every kernel that depends on lengths reads the records of the batch entries that its grid has, also where the heads are cut into slices.
func TestLengthsOfSlices(t *testing.T) {
	for _, name := range []string{"vertical_slash", "block_sparse", "a_shape"} {
		file, src, _ := patterns.Source(name)
		p, s, err := lengthsProgram(t, file, src)
		require.NoError(t, err)
		kernels := withLengths(s)
		require.NoError(t, p.Verify(s.Params, kernels))
		again, err := ir.ParseProgram(p.String())
		require.NoError(t, err)
		require.Equal(t, p, again)
		l := ir.ProgramLaunch{Kernels: kernels, Heads: make([]ir.Env, 4), Numbers: ir.Env{"batch": 3, "kv_heads": 2, "group": 2, "q_heads": 4, "sq": 300, "sk": 300,
			"q_offset": 0, "least_reach": 0, "head_dim": 64, "sharers": 2, "present": 4, "multiprocessors": 10, "scratch_bytes": 1, "ragged": 1, "total_q": 500, "total_k": 500}}
		for _, name := range strings.Fields("q_batch q_head q_row k_batch k_head k_row v_batch v_head v_row o_batch o_head o_row lse_batch lse_head") {
			l.Numbers[name] = 0
		}
		for h := range l.Heads {
			l.Heads[h] = ir.Env{}
			for _, q := range s.Params {
				l.Heads[h][ir.ParamName(q.Name)], l.Numbers[ir.ParamName(q.Name)] = 50, 50
			}
		}
		b, err := p.Bind(l)
		require.NoError(t, err)
		seen := map[string][]int64{} // records of each kernel's launches
		for _, part := range []string{ir.PartLengths, ir.PartPool, ir.PartChoose, ir.PartGather, ir.PartAttend} {
			actions, err := b.Part(part, ir.Routed{})
			require.NoError(t, err)
			for _, a := range actions {
				kernel, _, _ := strings.Cut(a.Kernel, ".")
				require.False(t, abi.DependsOnLengths(kernel), "%s does not read lengths", kernel)
				params, _ := kernels(a.Kernel)
				for i, q := range params {
					if q == abi.LengthsParam {
						require.Equal(t, "lengths", a.Args[i].Address.Base)
						seen[kernel] = append(seen[kernel], a.Args[i].Address.Bytes/abi.LengthsBytes)
					}
				}
			}
		}
		require.Equal(t, []int64{0}, seen[abi.Lengths])
		require.Equal(t, []int64{0}, seen[abi.Attend])
		switch name { // with scratch memory for a kv head, or for a head, at a time
		case "vertical_slash":
			require.Equal(t, []int64{0, 0, 1, 1, 2, 2}, seen["probe_stats_lengths"])
			require.Equal(t, []int64{0, 0, 1, 1, 2, 2}, seen["select_top_lengths"])
			require.Equal(t, []int64{0}, seen["compact_lengths"])
		case "block_sparse":
			require.Equal(t, []int64{0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2}, seen["pool_mean_lengths"], "k of all heads first")
			require.Len(t, seen["block_select_lengths"], 3*4*5)
		}
	}
}

// Which tiles of a spread probe have keys is for the host to say.
func TestLengthsRefuseASpreadProbe(t *testing.T) {
	const src = "pattern p { index best = top(9, sum(softmax(q[::4] * k), queries))\n keep causal & columns(best) }"
	_, _, err := lengthsProgram(t, "spread", []byte(src))
	require.ErrorIs(t, err, ErrSpreadProbe)
	require.ErrorContains(t, err, "p: it probes other rows than the last 64")
}
