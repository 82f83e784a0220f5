// Package show says what a pattern keeps and what it costs, to a person who writes it: in words, as a picture, and in numbers that need no
// data. It launches nothing.
package show

import (
	"fmt"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/passes"
	"github.com/minfc/minfc/runtime/artifact"
)

// MaxLength bounds the length, in tokens: the longest whose density is shown.
const MaxLength = 1 << 20

// The layer that tiles and times are of.
const (
	HeadDim = 128
	DType   = abi.BF16
	QHeads  = 32
	KVHeads = 8
)

// Request is what a person asks to see.
type Request struct {
	File    string           // a pattern file, or the name of a library pattern
	Pattern string           // of the file; "" where it has only one
	SeqLen  int              // tokens: queries and keys of the call, 1 to MaxLength
	Set     map[string]int64 // values of parameters, const ones too
	Tile    *[2]int          // the row tile and the key tile to explain, or nil
}

// subject is a pattern with the values of all of its parameters.
type subject struct {
	program *compile.Program
	pattern *ir.Pattern      // its const values are its defaults
	consts  map[string]int64 // of const parameters
	launch  map[string]int64 // of launch parameters
	values  map[string]int64 // of all of them
	given   map[string]int64 // what the person set
	file    *dsl.File
	keep    *node
	causal  bool // it keeps no key after a query
	n       int  // queries and keys

	artifact *artifact.Artifact // of a pattern that data decides, nil before its price is asked
}

// load reads the pattern. Errors say what of the request is wrong.
func load(r Request) (*subject, error) {
	if r.SeqLen < 1 || r.SeqLen > MaxLength {
		return nil, fmt.Errorf("--seqlen is %d, want 1 to %d", r.SeqLen, MaxLength)
	}
	in, err := input.ReadSource(r.File)
	if err != nil {
		return nil, err
	}
	program, err := compile.Load(in.Name, in.Source, r.Pattern, nil)
	if err != nil {
		return nil, err
	}
	p := program.Pattern
	values, err := ir.CheckLaunch(p.Params, p.Requires, r.Set)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", p.Name, err)
	}
	consts := p.ValuesAt(ir.BindConst, values)
	if err := program.With(consts).Check(); err != nil {
		return nil, err
	}
	s := &subject{program: program, pattern: p.WithDefaults(consts), consts: consts, launch: p.ValuesAt(ir.BindLaunch, values),
		values: values, given: r.Set, n: r.SeqLen}
	file, set := program.Kept()
	s.file, s.keep = file, newNode(set)
	schedule, err := s.schedule(s.pattern, passes.Fixed(ir.Tile{Rows: ir.BlockSize, Keys: ir.BlockSize}))
	if err != nil {
		return nil, err
	}
	s.causal = schedule.Causal()
	return s, nil
}

// dynamic says whether the data decides what is kept.
func (s *subject) dynamic() bool { return len(s.pattern.Index) > 0 }

// schedule runs the passes over a pattern with the parameters of s.
func (s *subject) schedule(p *ir.Pattern, tile func(*ir.Schedule) ir.Tile) (*ir.Schedule, error) {
	return passes.Run(p, passes.Options{Tile: tile, Consts: p.ValuesAt(ir.BindConst, s.consts)})
}

// keeping is the pattern with another set to keep, without means, which are no pairs, and without an index stage where no data decides.
func (s *subject) keeping(set ir.Set) *ir.Pattern {
	p := *s.pattern
	p.Keep, p.Pool = set, 0
	if !chooses(set) {
		p.Index = nil
	}
	return &p
}

// base is the pattern without sparsity that density and times are compared with.
func (s *subject) base() *ir.Pattern {
	if s.causal {
		return &ir.Pattern{Name: "dense", Keep: ir.Causal{}}
	}
	return &ir.Pattern{Name: "full", Keep: ir.All{}}
}

// densePairs are the pairs of the base at a length.
func (s *subject) densePairs(n int) int64 {
	if s.causal {
		return int64(n) * int64(n+1) / 2
	}
	return int64(n) * int64(n)
}

// count counts the tiles and pairs of some rows of one head with all keys below sk. The schedule is of a static set.
func (s *subject) count(schedule *ir.Schedule, first, rows, sk int) (*cost.Counts, error) {
	params := map[string]int64{}
	for _, p := range schedule.Params {
		params[p.Name] = s.values[p.Name]
	}
	return cost.Count(cost.Work{HeadDim: HeadDim, DType: DType, RowTile: schedule.Tile.Rows, KeyTile: schedule.Tile.Keys, Batch: 1, QHeads: 1,
		KVHeads: 1, SeqQ: rows, SeqK: sk, QOffset: first, Schedule: schedule, Params: params})
}

// pairs are the pairs of a static set in a call of n queries and keys.
func (s *subject) pairs(set ir.Set, n int) (int64, error) {
	schedule, err := s.schedule(s.keeping(set), passes.Fixed(ir.Tile{Rows: 1024, Keys: 1024})) // few tiles to count
	if err != nil {
		return 0, err
	}
	c, err := s.count(schedule, 0, n, n)
	if err != nil {
		return 0, err
	}
	return c.Pairs(), nil
}

// chooses says whether the data decides a part of a set.
func chooses(set ir.Set) bool {
	switch x := set.(type) {
	case ir.Chosen:
		return true
	case ir.Union:
		return anyChooses(x.Sets)
	case ir.Intersect:
		return anyChooses(x.Sets)
	case ir.Minus:
		return anyChooses([]ir.Set{x.Left, x.Right})
	}
	return false
}

func anyChooses(sets []ir.Set) bool {
	for _, x := range sets {
		if chooses(x) {
			return true
		}
	}
	return false
}
