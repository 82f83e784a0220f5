// Package passes turns a pattern into a schedule, by a table of small passes that can be printed and verified one by one.
package passes

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/minfc/minfc/ir"
)

// Unit is what passes work on: the pattern, what was found out about it, and from disjoint on the schedule.
type Unit struct {
	Pattern  *ir.Pattern
	Members  []UnionMember // set by classify
	Schedule *ir.Schedule  // set by disjoint

	tile   func(*ir.Schedule) ir.Tile
	consts map[string]int64
}

// facts are what proofs about the unit may rest on.
func (u *Unit) facts() ir.Facts { return ir.NewFacts(u.Pattern.Params, u.Pattern.Requires) }

// String is the text that print-after shows: the schedule once there is one, else the pattern and its members.
func (u *Unit) String() string {
	if u.Schedule != nil {
		return u.Schedule.String()
	}
	var b strings.Builder
	b.WriteString(u.Pattern.String())
	for i, p := range u.Members {
		fmt.Fprintf(&b, "member %d: %s: %s\n", i, p.Class, ir.FormatSet(p.Set))
	}
	return b.String()
}

// verify checks the newest form of the unit.
func (u *Unit) verify() error {
	if u.Schedule == nil {
		return u.Pattern.Verify()
	}
	s := *u.Schedule
	if s.Tile == (ir.Tile{}) && u.tile != nil {
		s.Tile = u.tile(&s) // not set yet: verify what there is, for the tile that will be
	}
	return s.Verify()
}

// Pass is one row of the table.
type Pass struct {
	Name string
	Does string // what it does, in one sentence
	run  func(*Unit) error
}

var table = []Pass{
	{"consts", "replaces the parameters that are baked into the kernel by their values", consts},
	{"simplify", "flattens unions and intersections and drops parts that add nothing", simplify},
	{"classify", "says how each part moves with the row, and sorts the members of unions by it", classify},
	{"disjoint", "turns the set into bands that never overlap: the segments of the schedule", disjoint},
	{"tile", "sets the size of the tiles", setTile},
	{"split", "finds the segments without full tiles and those whose empty tiles can be skipped", split},
	{"order", "orders the segments of a row tile, and the row tiles", order},
}

// Table lists the passes in the order they run.
func Table() []Pass { return append([]Pass(nil), table...) }

// Constraint is the reason for a place in the table: pass Earlier runs before pass Later.
type Constraint struct{ Earlier, Later, Because string }

var constraints = []Constraint{
	{"consts", "simplify", "a part may only turn out empty or implied with its numbers known"},
	{"consts", "disjoint", "the schedule must not mention parameters that the kernel does not have"},
	{"simplify", "classify", "one class for each member is only useful once nested unions are flat"},
	{"classify", "disjoint", "later members of a union lose what earlier ones keep, so the order decides which parts stay whole"},
	{"disjoint", "split", "cutting a part adds bounds and tests, and both decide whether a tile can be full"},
	{"tile", "split", "whether a tile can be full depends on its size"},
	{"split", "order", "segments are sorted last, so that no index of a segment is held across it"},
	{"disjoint", "order", "segments are sorted by the bounds they end up with"},
	{"disjoint", "tile", "the tile belongs to the schedule, which disjoint makes"},
}

// Constraints lists the reasons for the order of the table.
func Constraints() []Constraint { return append([]Constraint(nil), constraints...) }

// checkOrder says which constraint the order of passes breaks, if any.
func checkOrder(passes []Pass, constraints []Constraint) error {
	place := map[string]int{}
	for i, p := range passes {
		if _, twice := place[p.Name]; twice {
			return fmt.Errorf("pass %s is in the table twice", p.Name)
		}
		place[p.Name] = i
	}
	for _, c := range constraints {
		earlier, a := place[c.Earlier]
		later, b := place[c.Later]
		if !a || !b || earlier >= later {
			return fmt.Errorf("pass %s must run before %s: %s", c.Earlier, c.Later, c.Because)
		}
	}
	return nil
}

// Options steer Run. The zero value of each hook means: do nothing.
type Options struct {
	Tile   func(*ir.Schedule) ir.Tile // the size of tiles; the schedule has its segments then, and with them the lists that it reads
	Consts map[string]int64           // values of const parameters; the others keep their defaults
	Verify bool                       // verify after every pass, not only at the end
	After  func(name, text string)
	Time   func(name string, took time.Duration)
}

// Fixed is the tile of every schedule.
func Fixed(tile ir.Tile) func(*ir.Schedule) ir.Tile {
	return func(*ir.Schedule) ir.Tile { return tile }
}

// Run compiles a pattern into a verified schedule. Errors name the pattern and what to change in it; one that begins with
// "internal:" is a fault of a pass.
func Run(p *ir.Pattern, opts Options) (*ir.Schedule, error) {
	if err := p.Verify(); err != nil {
		return nil, err
	}
	copied := *p
	u := &Unit{Pattern: &copied, tile: opts.Tile, consts: opts.Consts}
	for _, pass := range table {
		if err := runPass(pass, u, opts); err != nil {
			return nil, err
		}
	}
	switch err := u.verify(); {
	case errors.Is(err, ir.ErrTooInvolved):
		return nil, fmt.Errorf("pattern %q: %w", u.Pattern.Name,
			tooLarge("the bands of the set are too involved to prove that they do not overlap"))
	case err != nil:
		return nil, fmt.Errorf("internal: after all passes: %w", err)
	}
	return u.Schedule, nil
}

func runPass(pass Pass, u *Unit, opts Options) error {
	start := time.Now()
	if err := pass.run(u); err != nil {
		return fmt.Errorf("pattern %q: %w", u.Pattern.Name, err)
	}
	if opts.Time != nil {
		opts.Time(pass.Name, time.Since(start))
	}
	if opts.After != nil {
		opts.After(pass.Name, u.String())
	}
	if opts.Verify {
		if err := u.verify(); err != nil {
			return fmt.Errorf("internal: after pass %s: %w", pass.Name, err)
		}
	}
	return nil
}
