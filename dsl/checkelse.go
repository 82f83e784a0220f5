package dsl

import (
	"fmt"

	"github.com/minfc/minfc/ir"
)

// plainPool is how many keys a mean is of where `else mean` does not say it: the fewest with which the means cost less than 4 % of attention
// at 128K tokens and a density of a tenth (docs/else-mean.md).
const plainPool = 512

// pool is how many keys the means of a keep clause are of, 0 without `else`.
func (c *checker) pool(x *Else) int {
	switch {
	case x == nil:
		return 0
	case x.N == nil:
		return plainPool
	}
	n, ok := c.number(x.N)
	if !ok {
		return 0
	}
	keys, constant := n.Const()
	if constant && ir.CheckPool(keys) == nil {
		return int(keys)
	}
	d := Diagnostic{Code: codeNotAPool, Message: fmt.Sprintf("a mean of %d keys", keys), Primary: Label{x.N.Pos(), "no kernel has such means"}}
	if !constant {
		d.Message = fmt.Sprintf("a mean of `%s` keys, which is not a number by itself", c.text(x.N))
	}
	d.offer(x.Span, fmt.Sprintf("else mean(%d)", nearestPool(keys)), "kernels have means of 64, 128, 256 or 512 keys: `%s`")
	c.report(d)
	return 0
}

// nearestPool is the smallest pool with so many keys, or the largest that there is.
func nearestPool(keys int64) int {
	for _, p := range ir.PoolKeys {
		if int64(p) >= keys {
			return p
		}
	}
	return plainPool
}
