// Package ir holds the two intermediate forms of a pattern, Pattern and Schedule, with their text forms, verifiers and
// interpreters. The interpreter of Pattern is the definition of what a pattern means.
package ir

// Pattern says which (query, key) pairs one attention head keeps. It knows neither tiles nor devices.
//
// A query of row i sits at absolute position q = q_offset + i; a key at position k in [0, sk).
// d = q - k is the distance of a pair. Keep is evaluated on (q, k); nothing outside [0, sk) is ever kept.
type Pattern struct {
	Name     string
	Params   []Param
	Requires []Require
	Index    []IndexDef
	Keep     Set
	// Pool is how many keys a mean is of that stands for what is dropped of them, one of PoolKeys (means.go); 0: nothing stands for it.
	Pool int
	Skip *Skip // nil: every kept pair counts
}

// Binding says when the value of a parameter is known.
type Binding uint8

const (
	BindLaunch Binding = iota // a scalar argument of the kernel: one compiled kernel serves every value
	BindConst                 // baked into the kernel
)

// Param is a named non-negative integer. Values above MaxParam are refused at launch, so that every
// position fits 32 bits with room to add.
type Param struct {
	Name    string
	Binding Binding
	Default int64
	Min     int64 // smallest legal value; the compiler may rely on it when it compares bounds
}

// MaxParam bounds parameters, lengths, offsets and every polynomial of a schedule at launch (by magnitude).
const MaxParam = 1 << 30

// MaxEnd bounds the position after the last query: a tile and more below MaxParam, so that a position, a bound and a tile
// together stay within 32 bits in a kernel.
const MaxEnd = MaxParam - 1024

// Require is a condition on the parameters that must hold at launch: Value >= Min. What says it in words.
type Require struct {
	Value Poly
	Min   int64
	What  string // "the step of diagonals"
}

// Set is a set of (q, k) pairs.
type Set interface{ isSet() }

type (
	// All keeps every pair.
	All struct{}
	// Causal keeps d >= 0.
	Causal struct{}
	// Window keeps -Right <= d < Left: the query's own key, the Left-1 before it and the Right after it.
	Window struct{ Left, Right Poly }
	// Sink keeps k < N.
	Sink struct{ N Poly }
	// Columns keeps From <= k < To with k = From modulo Step. To nil means no upper end.
	Columns struct {
		From Poly
		To   *Poly
		Step Poly
	}
	// Diagonals keeps From <= d < To with d = From modulo Step. To nil means no upper end.
	Diagonals struct {
		From Poly
		To   *Poly
		Step Poly
	}
	// Rows keeps From <= q < To, of all keys. To nil means no upper end.
	Rows struct {
		From RowBound
		To   *RowBound
	}
	// Union keeps what any member keeps.
	Union struct{ Sets []Set }
	// Intersect keeps what all members keep.
	Intersect struct{ Sets []Set }
	// Minus keeps what Left keeps and Right does not.
	Minus struct{ Left, Right Set }
)

func (All) isSet()       {}
func (Causal) isSet()    {}
func (Window) isSet()    {}
func (Sink) isSet()      {}
func (Columns) isSet()   {}
func (Diagonals) isSet() {}
func (Rows) isSet()      {}
func (Union) isSet()     {}
func (Intersect) isSet() {}
func (Minus) isSet()     {}
