package selfcheck

import "github.com/minfc/minfc/abi"

// Limits are the errors that a right kernel stays within where the logits are of ordinary size. Where a limit is exceeded, the
// row is judged again by what float32 can know of its logits (see doubt).
type Limits struct {
	Frobenius float64 // relative error of the whole output
	Row       float64 // relative error of any row
	LSE       float64 // absolute error of any log-sum-exp
	tiny      float64 // numbers of the type, or of float32 where they become numbers of the type, are lost below it
}

// limits follow from the types: P is rounded to the type before the second product, and outputs are rounded to it once more. A
// rounding to bf16 errs by 2^-9 at most and 1.1e-3 on average, one to f16 by an eighth of both. The table in docs/measuring.md is the same.
var limits = map[abi.DType]Limits{
	abi.BF16: {Frobenius: 3e-3, Row: 8e-3, LSE: 2e-4, tiny: 0x1p-126},
	abi.F16:  {Frobenius: 4e-4, Row: 1e-3, LSE: 2e-4, tiny: 0x1p-25},
}

// LimitsOf returns the limits for tensors of a type; an unknown type has limits of 0.
func LimitsOf(f abi.DType) Limits { return limits[f] }
