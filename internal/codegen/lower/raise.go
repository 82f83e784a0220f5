package lower

import "github.com/llir/llvm/ir/enum"

// slack is how far scores may exceed what a row's probabilities are relative to, in the log2 domain, before that is raised. Until
// then probabilities are up to 2^slack, sums and outputs as much larger, and the division at the end undoes it.
const slack = 8

// Exceed says whether one of the warp's values x (scores, scaled, in the log2 domain) exceeds its m by more than the slack: then
// maxima have to be raised and outputs rescaled. After a tile's first stage that is rare.
func (b *Builder) Exceed(x, m []Value) Value {
	any := Value(Bool(false))
	for i := range x {
		any = b.Or(any, b.FCmp(enum.FPredOGT, x[i], b.FAdd(m[i], F32(slack))))
	}
	return b.AnyLane(any)
}
