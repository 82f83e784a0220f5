package passes

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/ir/irtest"
	"github.com/minfc/minfc/patterns"
)

var blockTile = ir.Tile{Rows: ir.BlockSize, Keys: ir.BlockSize}

// kernelsOf are the kernels that programs of s may run.
func kernelsOf(s *ir.Schedule) ir.Kernels {
	return func(name string) ([]ir.KernelParam, bool) {
		if name == abi.Attend || name == abi.Dense {
			return slices.Concat(abi.Params(s), abi.QueueParams), true
		}
		kernel, _, _ := strings.Cut(name, ".")
		params, there := abi.IndexParams[kernel]
		return params, there
	}
}

func programOf(t *testing.T, s *ir.Schedule) *ir.Program {
	p, err := Program(s)
	require.NoError(t, err)
	Attend(p, ir.PartAttend, Kernel{Name: abi.Attend, Schedule: s, Rows: 64, BlocksPerSM: 2})
	if len(s.Index) > 0 {
		Attend(p, ir.PartDense, Kernel{Name: abi.Dense, Schedule: s, Rows: 128})
	}
	return p
}

// The programs of the library's dynamic patterns, as people read them.
func TestProgramsOfTheLibrary(t *testing.T) {
	for _, name := range patterns.Names() {
		file, src, _ := patterns.Source(name)
		_, found, err := dsl.Load(file, src)
		require.NoError(t, err)
		s, err := Run(found[0], Options{Tile: Fixed(blockTile)})
		require.NoError(t, err)
		p := programOf(t, s)
		require.NoError(t, p.Verify(s.Params, kernelsOf(s)), name)
		if len(s.Index) == 0 {
			continue
		}
		golden := filepath.Join("testdata", "programs", name+".txt")
		if *update {
			require.NoError(t, os.WriteFile(golden, []byte(p.String()), 0o644))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err, "run with -update to write it")
		require.Equal(t, string(want), p.String())
	}
}

// Random programs read as they print, verify, and give every kernel the memory that it says it uses, whatever the call.
func TestRandomPrograms(t *testing.T) {
	for seed := range uint64(campaign.Cases(20, 150, 1500)) {
		rng := rand.New(rand.NewPCG(seed, 14))
		pattern := irtest.GroupsBySeed(seed, irtest.RandomChoosing(rng))
		s, err := Run(pattern, Options{Tile: Fixed(blockTile)})
		if err != nil || len(s.Index) == 0 {
			continue
		}
		p := programOf(t, s)
		again, err := ir.ParseProgram(p.String())
		require.NoError(t, err, "seed %d\n%s", seed, p)
		require.Equal(t, p, again)
		require.NoError(t, p.Verify(s.Params, kernelsOf(s)), "seed %d\n%s", seed, p)
		for range 6 {
			l := randomLaunch(rng, s, kernelsOf(s))
			b, err := p.Bind(l)
			if err != nil {
				continue // too large
			}
			for _, part := range ir.PartNames {
				_, err := b.Part(part, ir.Routed{ByHead: rng.IntN(2) == 0})
				require.NoError(t, err, "seed %d, %v\n%s", seed, l.Numbers, p)
			}
		}
	}
}

// randomLaunch is a call of a schedule with budgets of any size.
func randomLaunch(rng *rand.Rand, s *ir.Schedule, kernels ir.Kernels) ir.ProgramLaunch {
	pick := func(of ...int64) int64 { return of[rng.IntN(len(of))] }
	kv, group, sq := pick(1, 2, 3, 8), pick(1, 2, 4, 7), pick(1, 5, 63, 64, 65, 1000, 9999)
	l := ir.ProgramLaunch{Kernels: kernels, Numbers: ir.Env{"batch": pick(1, 1, 2, 3), "kv_heads": kv, "group": group, "q_heads": kv * group,
		"sq": sq, "sk": pick(0, sq/2, sq, sq+77), "q_offset": pick(0, 0, 50, 3000), "least_reach": pick(0, 0, 7000), "head_dim": pick(16, 128), "sharers": 1 + rng.Int64N(group),
		"multiprocessors": pick(1, 108), "scratch_bytes": pick(1, 100_000, 256<<20)}}
	for _, name := range strings.Fields("q_batch q_head q_row k_batch k_head k_row v_batch v_head v_row o_batch o_head o_row lse_batch lse_head") {
		l.Numbers[name] = 16 * rng.Int64N(1<<20)
	}
	for h := range kv * group {
		params := ir.Env{}
		for _, q := range s.Params {
			params[ir.ParamName(q.Name)] = q.Min + pick(0, 1, 7, 100, sq, 1<<20)
		}
		if rng.IntN(4) == 0 && h > 0 {
			params = nil
		} else if h == 0 {
			for name, v := range params {
				l.Numbers[name] = v
			}
		}
		l.Heads = append(l.Heads, params)
	}
	l.Numbers["present"] = int64(len(l.Heads))
	return l
}

// Long chunks, but shorter ones where the grid of one batch entry would not fill a GPU.
func TestChunksOfAProbe(t *testing.T) {
	last := ir.Poly{}
	p := probe{last: &last}
	for _, c := range []struct{ heads, kvHeads, group, sk, tiles, rows int64 }{
		{4, 2, 4, 131072, 16, 2},
		{4, 8, 4, 1 << 20, 16, 8},
		{4, 2, 4, 16384, 2, 2},
		{4, 1, 5, 65536, 8, 2}, // five heads take two blocks
		{1, 1, 1, 65, 2, 1},
		{1, 1, 1, 0, 2, 1},
	} {
		numbers := ir.Env{p.variant(): c.heads, "kv_heads": c.kvHeads, "group": c.group, "sk": c.sk}
		tiles, err := p.chunkTiles(sk.Over(ir.BlockSize)).Eval(numbers)
		require.NoError(t, err)
		require.Equal(t, c.tiles, tiles, "%+v", c)
		rows, err := p.gridRows(kvHeads).Eval(numbers)
		require.NoError(t, err)
		require.Equal(t, c.rows, rows, "%+v", c)
	}
}
