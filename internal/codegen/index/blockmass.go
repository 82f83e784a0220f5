package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// The mass of a row block's shares is summed in whole numbers, units of 2^-30, so that no order matters.
const blockMassOne = 1 << 30

// forcedBlock is the key of a forced block.
var forcedBlock = lower.I32(-1)

// blockMass is what a threshold leaves: how many keys, and their mass.
type blockMass struct{ number, mass Value }

func (m *blockMass) Values() []*Value { return []*Value{&m.number, &m.mass} }

// searchMass finds the largest threshold from which on there are n keys, or enough to hold the share of all mass and to be as many as there
// must be. It sets n to the number that is chosen; the first so many ties do.
func (k *selectKernel) searchMass() (threshold, exact lower.Value) {
	forced := k.forcedMass()
	all := k.massFrom(lower.I32(0), lower.I32(sumsBytes)).mass
	total := k.ZExt64(k.Add(all, forced))
	thousandths := k.Mul(total, k.ZExt64(k.ofHead("block_n")))
	goal := k.Trunc32(k.UDiv(k.Add(thousandths, lower.I64(massScale-1)), lower.I64(massScale)))
	goal = k.Max(k.Sub(goal, forced), lower.I32(0))
	least := k.Min(k.least(), k.n)
	reached := func(m blockMass) lower.Value {
		enough := k.And(k.ICmp(enum.IPredSGE, m.mass, goal), k.ICmp(enum.IPredSGE, m.number, least))
		return k.Or(k.ICmp(enum.IPredSGE, m.number, k.n), enough)
	}
	start := lower.Fold{At: lower.I32(-1 << 31), Made: lower.I32(0)}
	threshold = lower.Repeat(k.Builder, "mass", start, func(bit lower.Fold) (next lower.Fold, again Value) {
		try := k.Or(bit.Made, bit.At)
		next.Made = k.Select(reached(k.massFrom(try, k.parity(bit.At))), try, bit.Made)
		next.At = k.LShr(bit.At, 1)
		return next, k.ICmp(enum.IPredNE, next.At, lower.I32(0))
	}).Made
	onlyForced := k.ICmp(enum.IPredEQ, threshold, forcedBlock)
	above := k.massFrom(k.Select(onlyForced, threshold, k.Add(threshold, lower.I32(1))), lower.I32(0))
	one := k.Max(k.mass(threshold), lower.I32(1))
	ties := k.UDiv(k.Add(k.Max(k.Sub(goal, above.mass), lower.I32(0)), k.Sub(one, lower.I32(1))), one)
	ties = k.Min(k.Max(ties, k.Sub(least, above.number)), k.Sub(k.n, above.number))
	k.n = k.Add(above.number, k.Select(onlyForced, lower.I32(0), ties))
	return threshold, k.Block.NewZExt(onlyForced, types.I32)
}

// forcedMass is the mass of the forced blocks, whose keys no longer tell.
func (k *selectKernel) forcedMass() lower.Value {
	sum := k.eachForced(lower.I32(0), func(sum, share lower.Value) lower.Value { return k.Add(sum, k.mass(k.AsInt(share))) })
	return k.blockAdd(sum, lower.I32(sumsTies))
}

// eachForced folds the scores of the forced blocks, each in one thread, into what fold makes of start.
func (k *selectKernel) eachForced(start lower.Value, fold func(made, score lower.Value) lower.Value) lower.Value {
	forced := k.Min(k.Add(k.first, k.Sub(k.candidates, k.tail)), k.candidates)
	return lower.While(k.Builder, "forced", lower.Fold{At: k.tid, Made: start}, func(n lower.Fold) Value {
		return k.ICmp(enum.IPredSLT, n.At, forced)
	}, func(n lower.Fold) lower.Fold {
		behind := k.Add(k.Sub(k.candidates, forced), n.At)
		i := k.Select(k.ICmp(enum.IPredSLT, n.At, k.first), n.At, behind)
		score := k.Load(types.Float, k.Offset(k.scores(), k.Shl(k.ZExt64(i), 2)), 4)
		return lower.Fold{At: k.Add(n.At, k.threads), Made: fold(n.Made, score)}
	}).Made
}

// mass is the mass of a key; of one that is forced or no candidate it is 0.
func (k *selectKernel) mass(key lower.Value) lower.Value {
	share := k.AsFloat(k.And(key, lower.I32(0x7fffffff)))
	units := k.Block.NewFPToSI(k.FMA(share, lower.F32(blockMassOne), lower.F32(0.5)), types.I32)
	return k.Select(k.ICmp(enum.IPredEQ, key, forcedBlock), lower.I32(0), units)
}

// massFrom sums over the block the keys that are at least x. The sums lie at an offset of their arrays: there are two, in turn.
func (k *selectKernel) massFrom(x, sums lower.Value) blockMass {
	zero := lower.I32(0)
	sum := groups(k, "weigh", blockMass{zero, zero}, func(g int, sum blockMass) blockMass {
		for _, key := range k.keys[g*selectGroup : (g+1)*selectGroup] {
			in := k.ICmp(enum.IPredUGE, key, x)
			sum.number = k.Select(in, k.Add(sum.number, lower.I32(1)), sum.number)
			sum.mass = k.Select(in, k.Add(sum.mass, k.mass(key)), sum.mass)
		}
		return sum
	})
	masses := k.Add(sums, lower.I32(blockMassSums))
	k.putSum(k.WarpAdd(sum.number), sums)
	k.putSum(k.WarpAdd(sum.mass), masses)
	k.Barrier()
	return blockMass{k.sumBelow(k.warps, sums), k.sumBelow(k.warps, masses)}
}
