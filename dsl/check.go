package dsl

import (
	"fmt"
	"slices"

	"github.com/minfc/minfc/ir"
)

// Load parses and checks a file. The error is an *Error that holds everything found, in the order of the source; then
// there are no patterns. Without an error the file's Warnings may still hold something to show.
func Load(file string, src []byte) (*File, []*ir.Pattern, error) {
	f, ds := parse(file, src)
	patterns, more := Check(f)
	ds = append(ds, more...)
	ds.Sort()
	if ds.HasErrors() {
		return f, nil, &Error{file, f.Src, ds}
	}
	f.Warnings = ds
	return f, patterns, nil
}

// Check lowers the patterns of a file, in order, leaving out patterns with errors. The diagnostics hold warnings too.
func Check(f *File) ([]*ir.Pattern, Diagnostics) {
	var out []*ir.Pattern
	var ds Diagnostics
	first := map[string]Span{}
	f.keeps = map[string]*Set{}
	for _, p := range f.Patterns {
		c := &checker{pattern: p, src: f.Src}
		if before, ok := first[p.Name.Name]; ok {
			c.report(Diagnostic{Code: codeSamePattern, Message: fmt.Sprintf("the name `%s` is used for two patterns", p.Name.Name),
				Primary: Label{p.Name.Span, "second pattern of this name"}, Others: []Label{{before, "first"}}, Help: "rename one of them"})
		} else {
			first[p.Name.Name] = p.Name.Span
		}
		lowered := c.run()
		if !c.ds.HasErrors() {
			out, f.keeps[p.Name.Name] = append(out, lowered), c.kept
		}
		ds = append(ds, c.ds...)
	}
	ds.Sort()
	return out, ds
}

// checker checks and lowers one pattern.
type checker struct {
	pattern  *Pattern
	src      []byte
	params   []*paramUse // in the order of the source
	lets     []*letUse
	indexes  []*indexUse
	defs     []ir.IndexDef
	requires []ir.Require
	baked    bool   // a number is being lowered that is known when the kernel is compiled
	clause   string // the name of the index clause being lowered
	nodes    int    // of the set being lowered, with named sets written out
	parts    []*Set // of the set being lowered, as far as no operator has joined them
	kept     *Set   // what the last keep clause keeps
	ds       Diagnostics
}

type paramUse struct {
	decl *Param
	min  int64
	used bool
	bad  bool // the default is reported; nothing more is said about values that depend on it
}

type letUse struct {
	decl  *Let
	set   ir.Set // nil where the set has errors
	means *Set
	nodes int
	used  bool
}

// text is what the source says at an expression.
func (c *checker) text(e Expr) string { return string(c.src[e.Pos().Start:e.Pos().End]) }

func (c *checker) report(d Diagnostic) { c.ds = append(c.ds, d) }

func (c *checker) run() *ir.Pattern {
	for i, p := range c.pattern.Params {
		if i == ir.MaxParams {
			c.report(Diagnostic{Code: codeTooDeep, Message: fmt.Sprintf("the pattern has %d parameters, wanted at most %d",
				len(c.pattern.Params), ir.MaxParams),
				Primary: Label{p.Span, "one too many"}, Help: "split the pattern up, or write numbers in place of parameters"})
		}
		c.declare(p)
	}
	var keep *Keep
	var skip *Skip
	var set ir.Set
	pool := 0
	var skips *ir.Skip
	for _, clause := range c.pattern.Clauses {
		switch x := clause.(type) {
		case *Index:
			c.index(x)
		case *Let:
			c.let(x)
		case *Keep:
			if keep != nil {
				c.report(Diagnostic{Code: codeManyKeeps, Message: "found a second keep clause, wanted one",
					Primary: Label{x.Span, "second"}, Others: []Label{{keep.Span, "first"}}, Help: "join the two sets with `|` or `&`"})
			}
			keep, set = x, c.clauseSet(x.Set)
			c.kept, pool = c.parts[0], c.pool(x.Else)
		case *Skip:
			skips, skip = c.skip(x, skip), x
		default:
			c.internal(clause.Pos(), clause)
		}
	}
	if keep == nil {
		c.report(Diagnostic{Code: codeNoKeep, Message: fmt.Sprintf("pattern `%s` has no keep clause", c.pattern.Name.Name),
			Primary: Label{c.pattern.Name.Span, "keeps nothing"}, Help: "say which pairs are kept, for example `keep causal`"})
	}
	c.warnUnused()
	return &ir.Pattern{Name: c.pattern.Name.Name, Params: c.loweredParams(), Requires: c.requires, Index: c.defs, Keep: set, Pool: pool, Skip: skips}
}

func (c *checker) declare(p *Param) {
	if first := c.param(p.Name.Name); first != nil {
		c.report(Diagnostic{Code: codeSameParam, Message: fmt.Sprintf("parameter `%s` is declared twice", p.Name.Name),
			Primary: Label{p.Name.Span, "declared again"}, Others: []Label{{first.decl.Name.Span, "first"}}, Help: "remove or rename one of them"})
		return
	}
	if name := p.Name.Name; isPosition(name) {
		c.report(Diagnostic{Code: codePositionName, Message: fmt.Sprintf("`%s` cannot be the name of a parameter", name),
			Primary: Label{p.Name.Span, "stands for a position"}, Help: fmt.Sprintf("choose another name, such as `%s`", c.freeParam())})
	}
	if isDecimal(p.Default.Text) {
		c.report(badNumber(p.Default.Span, p.Default.Text, "a parameter is a whole number; write a share as a literal, such as `top_p(0.95, x)`"))
	}
	if p.Default.Value > ir.MaxParam {
		c.aboveLimit(p.Default.Span, p.Default.Text)
	}
	c.params = append(c.params, &paramUse{decl: p, bad: p.Default.Value < 0 || p.Default.Value > ir.MaxParam})
}

// freeParam is a name that no parameter of the pattern has.
func (c *checker) freeParam() string {
	name := "n"
	for i := 2; slices.ContainsFunc(c.pattern.Params, func(p *Param) bool { return p.Name.Name == name }); i++ {
		name = fmt.Sprintf("n%d", i)
	}
	return name
}

func (c *checker) loweredParams() []ir.Param {
	var out []ir.Param
	for _, p := range c.params {
		binding := ir.BindLaunch
		if p.decl.Const {
			binding = ir.BindConst
		}
		out = append(out, ir.Param{Name: p.decl.Name.Name, Binding: binding, Default: p.decl.Default.Value, Min: p.min})
	}
	return out
}

// let lowers a named set once; where it is used, its set is put in.
func (c *checker) let(x *Let) {
	c.freshName(x.Name, "the set")
	set := c.clauseSet(x.Set)
	c.lets = append(c.lets, &letUse{decl: x, set: set, means: c.parts[0], nodes: c.nodes})
}

// freshName reports a name of a clause that already means something in the pattern. Sets and index values share their names.
func (c *checker) freshName(x Ident, what string) {
	name := x.Name
	d := Diagnostic{Code: codeTakenName, Primary: Label{x.Span, "defined again"}, Help: "remove or rename one of them"}
	again := func(first Span) {
		d.Message = fmt.Sprintf("%s `%s` is defined twice", what, name)
		d.Others = []Label{{first, "first"}}
	}
	switch l, v := c.named(name), c.indexNamed(name); {
	case findSet(name) != nil:
		d.Message = fmt.Sprintf("`%s` is a set of the language and cannot be defined again", name)
		d.Primary.Text, d.Help = "taken", "choose another name"
	case isIndexWord(name):
		d.Message = fmt.Sprintf("`%s` is a word of the index stage and cannot be defined again", name)
		d.Primary.Text, d.Help = "taken", "choose another name"
	case l != nil:
		again(l.decl.Name.Span)
	case v != nil:
		again(v.decl.Name.Span)
	default:
		return
	}
	c.report(d)
}

// maxNodes bounds a set with its named sets written out: without it, sets named from sets double with every line.
const maxNodes = 4096

// clauseSet lowers the set of one clause.
func (c *checker) clauseSet(e Expr) ir.Set {
	c.nodes, c.parts = 0, nil
	set, ok := c.set(e)
	if c.nodes > maxNodes {
		c.report(Diagnostic{Code: codeTooDeep,
			Message: fmt.Sprintf("the set has more than %d parts when its named sets are written out", maxNodes),
			Primary: Label{e.Pos(), "too large"}, Help: "use named sets less often"})
		c.nodes = 0
		return nil
	}
	if !ok {
		return nil
	}
	return set
}

// warnUnused stays silent in a pattern with errors: what stands in them may be the missing use.
func (c *checker) warnUnused() {
	if c.ds.HasErrors() {
		return
	}
	for _, p := range c.params {
		if !p.used {
			c.report(Diagnostic{Code: codeUnusedParam, Message: fmt.Sprintf("parameter `%s` is never used", p.decl.Name.Name),
				Primary: Label{p.decl.Span, "unused"}, Help: "remove it, or use it in a set"})
		}
	}
	for _, l := range c.lets {
		if !l.used {
			c.report(Diagnostic{Code: codeUnusedLet, Message: fmt.Sprintf("the set `%s` is never used", l.decl.Name.Name),
				Primary: Label{l.decl.Name.Span, "unused"}, Help: "remove it, or use it in the keep clause"})
		}
	}
	for _, v := range c.indexes {
		if !v.used {
			c.report(Diagnostic{Code: codeUnusedIndex, Message: fmt.Sprintf("the index value `%s` is never used", v.decl.Name.Name),
				Primary: Label{v.decl.Name.Span, "unused"}, Help: "remove it, or keep what it chooses"})
		}
	}
}

func (c *checker) param(name string) *paramUse {
	i := slices.IndexFunc(c.params, func(p *paramUse) bool { return p.decl.Name.Name == name })
	if i < 0 {
		return nil
	}
	return c.params[i]
}

func (c *checker) named(name string) *letUse {
	i := slices.IndexFunc(c.lets, func(l *letUse) bool { return l.decl.Name.Name == name })
	if i < 0 {
		return nil
	}
	return c.lets[i]
}

func (c *checker) aboveLimit(s Span, what string) {
	c.report(Diagnostic{Code: codeAboveLimit, Message: fmt.Sprintf("%s is beyond the limit of %d", what, int64(ir.MaxParam)),
		Primary: Label{s, "too large"}, Help: "positions have 32 bits; leave out the set to keep everything"})
}

func (c *checker) internal(s Span, what any) {
	c.report(Diagnostic{Code: codeSyntax, Message: fmt.Sprintf("internal: unexpected %T in a pattern", what), Primary: Label{s, "here"}})
}
