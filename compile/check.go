package compile

import (
	"errors"
	"fmt"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/codegen"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/passes"
)

// checkedAs is what Check compiles patterns for: what is refused depends on neither head dim nor data type.
var checkedAs = Options{Target: TargetAuto, DType: abi.BF16, HeadDim: 64}

// Check reads the patterns of a source and compiles every one of them, for all targets, so that it refuses exactly what Compile refuses
// with the same values of const parameters. The error of a bad source is a *dsl.Error with everything that is wrong.
func Check(file string, src []byte, consts map[string]int64) (*dsl.File, []*ir.Pattern, error) {
	f, patterns, err := dsl.Load(file, src)
	if err != nil {
		return f, nil, err
	}
	refused := f.Warnings
	var errs []error
	for _, p := range patterns {
		program := &Program{Pattern: p, Source: sourceOf(f, p.Name), file: f}
		_, err := program.With(p.ValuesAt(ir.BindConst, consts)).Compile(checkedAs, nil)
		var source *dsl.Error
		switch {
		case errors.As(err, &source):
			refused = append(refused, source.Diagnostics...)
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: pattern %s: %w", file, p.Name, err))
		}
	}
	if refused.HasErrors() {
		refused.Sort()
		errs = append(errs, &dsl.Error{File: file, Src: f.Src, Diagnostics: refused})
	}
	return f, patterns, errors.Join(errs...)
}

// Check says whether any kernel has the pattern, without compiling it.
func (p *Program) Check() error {
	consts, err := passes.Consts(p.Pattern, p.consts)
	if err != nil {
		return err
	}
	if u := p.supports(p.Pattern.Keep, consts); u != nil {
		return p.place(u, consts)
	}
	return nil
}

// place gives an error about what kernels do not have its place in the source, as a *dsl.Error.
func (p *Program) place(err error, consts map[string]int64) error {
	var u *ir.Unsupported
	if p.file == nil || !errors.As(err, &u) {
		return err
	}
	set := p.file.KeptBy(p.Pattern.Name)
	for found := true; found; {
		found = false
		for _, part := range set.Parts {
			if other := p.supports(part.Means, consts); other != nil && other.Reason == u.Reason {
				set, u, found = part, other, true
				break
			}
		}
	}
	return &dsl.Error{File: p.file.Name, Src: p.file.Src, Diagnostics: dsl.Diagnostics{dsl.Unsupported(set, u)}}
}

// supports says why no kernel has a set of the pattern, nil if one has.
func (p *Program) supports(set ir.Set, consts map[string]int64) (u *ir.Unsupported) {
	part := *p.Pattern
	part.Keep = set
	for _, x := range []*ir.Pattern{&part, part.Widest()} {
		s, err := passes.Run(x, passes.Options{Tile: passes.Fixed(ir.Tile{Rows: ir.BlockSize, Keys: ir.BlockSize}), Consts: consts})
		if err == nil {
			err = codegen.CheckLists(s)
		}
		if errors.As(err, &u) {
			return u
		}
	}
	return nil
}
