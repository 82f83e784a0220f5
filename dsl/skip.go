package dsl

import (
	"fmt"

	"github.com/minfc/minfc/ir"
)

// shareDecimals are the decimals of the share of skip: ir.SkipUnits are its last ones.
const shareDecimals = 6

// skip lowers a skip clause.
func (c *checker) skip(x *Skip, first *Skip) *ir.Skip {
	if first != nil {
		c.report(Diagnostic{Code: codeManySkips, Message: "found a second skip clause, wanted one",
			Primary: Label{x.Span, "second"}, Others: []Label{{first.Span, "first"}}, Help: "keep the one with the share that you want"})
		return nil
	}
	share, ok := c.skipShare(x.Share)
	if !ok {
		return nil
	}
	out := &ir.Skip{Share: share}
	for _, r := range out.Requires() {
		if !c.require(x.Share.Pos(), r.Value, r.Min, r.What) {
			return nil
		}
	}
	return out
}

// skipShare is a share in millionths: a literal is the share itself, an expression counts them.
func (c *checker) skipShare(e Expr) (ir.Poly, bool) {
	number, isLiteral := unparen(e).(*Number)
	if !isLiteral || number.Value < 0 && !isDecimal(number.Text) {
		p, ok := c.numberArgument(e, argRule{what: "the share of skip in millionths"})
		if !ok {
			return p, false
		}
		v, ok := c.atDefaults(e.Pos(), p)
		if ok && v > ir.SkipUnits {
			c.notASkip(e.Pos(), fmt.Sprintf("the share of skip is %d millionths, wanted at most %d", v, ir.SkipUnits))
			return p, false
		}
		return p, ok
	}
	v := fixed(number.Text, shareDecimals)
	switch {
	case v < 0:
		c.report(Diagnostic{Code: codeBadNumber, Message: fmt.Sprintf("found the number `%s`, wanted at most %d decimals", number.Text, shareDecimals),
			Primary: Label{number.Span, "too many decimals"}, Help: "round it"})
	case v > ir.SkipUnits:
		c.notASkip(number.Span, fmt.Sprintf("the share of skip is %s, wanted at most 1", number.Text), Edit{number.Span, "0.001"})
	default:
		return ir.Int(v), true
	}
	return ir.Poly{}, false
}

func (c *checker) notASkip(at Span, message string, edits ...Edit) {
	c.report(Diagnostic{Code: codeNotAShare, Message: message, Primary: Label{at, "not a share"},
		Help: "write for example `skip(0.001)`, or a parameter that counts millionths", Edits: edits})
}
