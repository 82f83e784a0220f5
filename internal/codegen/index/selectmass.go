package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// The mass of values is summed in whole numbers, units of 2^-unit, so that no order matters. A bin of the histogram holds
// values that agree in their exponent and the digits so far: its mass follows from their number and the sum of what is left
// of their mantissas. That sum has 32 bits: of many values the last bits are dropped, which leaves 18 bits of each of 128K
// values in the first pass, 15 of each of a million.

// Shared memory of select_mass, behind the shared memory that select_top has too.
const (
	massParts  = selectShared             // sums of what is left of the mantissas, by bin
	massScan   = massParts + 4*selectBins // sums of the 32 warps
	massGoal   = massScan + 8*32          // i64: the mass that is wanted of the bin found
	massShared = massGoal + 16
)

const (
	mantissaBits = 23
	mantissaOne  = 1 << mantissaBits
	massScale    = 1000 // a share is in thousandths
)

// massGoals are what the free candidates are still to give: they end at a number, or when they hold the mass.
type massGoals struct {
	number Value // i32
	mass   Value // i64, in thousandths of units
}

// SelectMass chooses the largest values of each head until together with the forced ones they hold a share of the
// sum of all, and not more than a number, nor less than another; ties by the smaller index. Negative values and NaN count as 0, and
// what is 0 is chosen only by force or to be enough.
func SelectMass(lengths bool) (*lower.Kernel, error) {
	s := newSelector(ir.TopP, lengths)
	s.emit(func() found {
		most := s.wanted("most")
		least := s.least(most)
		f, n := s.searchMass(most)
		return lower.Choose(s.Builder, "few", s.ICmp(enum.IPredSLT, n, least), f, func() found {
			s.Barrier() // all have read the state
			return s.search(least)
		})
	})
	return s.finish(massShared), nil
}

// searchMass is the radix search for the candidate that reaches one of the goals, of which most is one. It returns how many candidates are
// chosen, too.
func (s *selector) searchMass(most Value) (f found, n Value) {
	s.weighs = true
	defer func() { s.weighs = false }()
	room := s.Sub(most, s.forced)
	goals := massGoals{number: room}
	forced := s.forcedMass()
	f = found{top: lower.I32(0)}
	var none Value
	for i, p := range radixPasses {
		s.histogram(p, f.top, i == 0)
		bins := s.weighBins(p, f.top)
		if i == 0 {
			share := s.ZExt64(s.ofHead("budget"))
			goals.mass = s.Sub(s.Mul(share, s.Add(bins.total, forced)), s.Mul(forced, lower.I64(massScale)))
			none = s.Or(s.ICmp(enum.IPredSLE, goals.number, lower.I32(0)), s.ICmp(enum.IPredSLE, goals.mass, lower.I64(0)))
		}
		f, goals = s.reach(p, f, bins, goals)
	}
	one := s.Mul(s.massOf(radixPasses[2], f.top, lower.I32(1), nil), lower.I64(massScale))
	enough := s.UDiv(s.Add(goals.mass, s.Sub(one, lower.I64(1))), one)
	enough = s.Select(s.ICmp(enum.IPredULT, enough, s.ZExt64(f.held)), enough, s.ZExt64(f.held))
	f.want = s.Min(s.Trunc32(enough), goals.number)
	n = s.Add(s.forced, s.Select(none, lower.I32(0), s.Add(s.Sub(room, goals.number), f.want)))
	f.top = s.Select(none, lower.I32(forcedKey), f.top)
	f.held = s.Select(none, f.want, f.held) // all ties: the forced ones
	return f, n
}

// inMassPass counts only free candidates that have a mass.
func (s *selector) inMassPass(p radixPass, top Value, first bool) func(key Value) Value {
	s.dropped = s.dropBits(p)
	if first {
		return func(key Value) Value { return s.ICmp(enum.IPredULT, s.Sub(key, lower.I32(1)), lower.I32(forcedKey-1)) }
	}
	in := s.sharesTop(p, top)
	return func(key Value) Value { return s.And(in(key), s.ICmp(enum.IPredNE, key, lower.I32(0))) }
}

// dropBits is how many of the last bits of a mantissa's rest a pass leaves out, so that the sum of n of them has 32 bits.
func (s *selector) dropBits(p radixPass) Value {
	bits := s.Add(s.HighBit(s.Max(s.all, lower.I32(1))), lower.I32(1+p.shift-32))
	return s.Max(bits, lower.I32(0))
}

// weigh adds what is left of a key's mantissa to the sum of its bin, of which bin is the counter's address.
func (s *selector) weigh(p radixPass, key, bin Value) {
	if p.shift == 0 {
		return // nothing is left
	}
	rest := s.And(key, lower.I32(1<<p.shift-1))
	s.SharedAdd(s.Add(bin, lower.I32(massParts)), s.ShrClamp(rest, s.dropped))
}

// massOf is the mass, in units, of count values that begin with the given digits; parts is the sum of what is left of them.
// It is at least 1 where there is a value, so that some bin reaches every goal.
func (s *selector) massOf(p radixPass, digits, count, parts Value) Value {
	key := s.Shl(digits, p.shift)
	mantissa := s.Or(s.And(key, lower.I32(mantissaOne-1)), lower.I32(mantissaOne))
	var sum Value
	if parts == nil {
		sum = s.Mul(s.ZExt64(count), s.ZExt64(mantissa))
	} else { // half a unit of the last bit that is kept, for the bits that are not
		mantissa = s.Add(mantissa, s.LShr(s.ShlClamp(lower.I32(1), s.dropped), 1))
		sum = s.Add(s.Mul(s.ZExt64(count), s.ZExt64(mantissa)), s.ShlClamp(s.ZExt64(parts), s.dropped))
	}
	const bias = 127 + mantissaBits
	up := s.Sub(s.Add(s.LShr(key, mantissaBits), s.param("unit")), lower.I32(bias))
	zero := lower.I32(0)
	left, right := s.ShlClamp(sum, s.Max(up, zero)), s.ShrClamp(sum, s.Max(s.Sub(zero, up), zero))
	mass := s.Select(s.ICmp(enum.IPredSGE, up, zero), left, right)
	return s.Add(mass, s.ZExt64(s.Min(count, lower.I32(1))))
}

// forcedMass is the mass of the candidates that are forced.
func (s *selector) forcedMass() Value {
	last := radixPasses[2]
	sum := lower.While(s.Builder, "forced", lower.Fold{At: s.tid, Made: lower.I64(0)}, func(n lower.Fold) Value {
		return s.ICmp(enum.IPredSLT, n.At, s.forced)
	}, func(n lower.Fold) lower.Fold {
		behind := s.Add(s.Sub(s.all, s.forced), n.At)
		i := s.Select(s.ICmp(enum.IPredSLT, n.At, s.first), n.At, behind)
		key := s.order(s.Load(types.Float, s.at(s.values, i), 4))
		one := s.Select(s.ICmp(enum.IPredEQ, key, lower.I32(0)), lower.I32(0), lower.I32(1))
		return lower.Fold{At: s.Add(n.At, lower.I32(selectThreads)), Made: s.Add(n.Made, s.massOf(last, key, one, nil))}
	}).Made
	_, total := s.scan(sum, massScan)
	s.Barrier() // the sums are used again
	return total
}

// massBins are the two bins of a thread, and what comes before them in falling order.
type massBins struct {
	high          Value // number of the higher one
	counts        [2]Value
	masses        [2]Value
	before, below Value // number and mass of the bins above
	total         Value // mass of all bins
}

func (s *selector) weighBins(p radixPass, top Value) massBins {
	b := massBins{high: s.highBin()}
	var parts [2]Value
	b.counts[0], b.counts[1] = s.binPair(b.high, 0)
	if p.shift > 0 {
		parts[0], parts[1] = s.binPair(b.high, massParts)
	}
	for i := range b.masses {
		digit := s.Sub(b.high, lower.I32(int64(i)))
		digits := s.Or(s.Shl(top, p.bits), s.And(digit, lower.I32(1<<p.bits-1)))
		b.masses[i] = s.massOf(p, digits, b.counts[i], parts[i])
	}
	b.before, _ = s.scan(s.Add(b.counts[0], b.counts[1]), selectScan)
	b.below, b.total = s.scan(s.Add(b.masses[0], b.masses[1]), massScan)
	return b
}

// reach finds the bin in which a goal is reached: its digit is added to top, and what is wanted of it are the new goals.
func (s *selector) reach(p radixPass, f found, b massBins, g massGoals) (found, massGoals) {
	scale := lower.I64(massScale)
	all := s.Mul(b.total, scale) // rounding may have left less than the bin of the pass before promised
	g.mass = s.Select(s.ICmp(enum.IPredSLT, all, g.mass), all, g.mass)
	reached := func(number, mass Value) Value {
		return s.Or(s.ICmp(enum.IPredSGE, number, g.number), s.ICmp(enum.IPredSGE, s.Mul(mass, scale), g.mass))
	}
	number, mass := s.Add(b.before, b.counts[0]), s.Add(b.below, b.masses[0])
	inHigh := reached(number, mass)
	inEither := reached(s.Add(number, b.counts[1]), s.Add(mass, b.masses[1]))
	s.If("mine", s.And(s.Not(reached(b.before, b.below)), inEither), func() {
		pick := func(high, low Value) Value { return s.Select(inHigh, high, low) }
		rest := s.Sub(g.number, pick(b.before, number))
		bin := pick(b.high, s.Sub(b.high, lower.I32(1)))
		s.Store(s.Pack4(bin, rest, pick(b.counts[0], b.counts[1]), lower.I32(0)), s.SharedAt(s.shared, selectState), 16)
		s.Store(s.Sub(g.mass, s.Mul(pick(b.below, mass), scale)), s.SharedAt(s.shared, massGoal), 8)
	})
	s.Barrier()
	state := s.Load(lower.Vec4, s.SharedAt(s.shared, selectState), 16)
	f.top, f.held = s.Or(s.Shl(f.top, p.bits), s.Lane4(state, stateBin/4)), s.Lane4(state, stateHeld/4)
	return f, massGoals{s.Lane4(state, stateWant/4), s.Load(types.I64, s.SharedAt(s.shared, massGoal), 8)}
}
