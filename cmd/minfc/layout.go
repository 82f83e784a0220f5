package main

import (
	"fmt"

	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
)

// offset is the value of --q-offset: the position of query row 0, or end, where the last query sits at the last key.
type offset struct {
	n     int
	end   bool
	given bool
}

func (o *offset) UnmarshalText(text []byte) error {
	if o.given = true; string(text) == "end" {
		o.end = true
		return nil
	}
	n, err := parseCount(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a position, want an integer such as 4096 or 4k, or end for Sk - Sq", text)
	}
	o.n = int(n)
	return nil
}

// check finds what is wrong whatever the tensors are.
func (o offset) check() error {
	switch {
	case o.n < 0:
		return usagef("--q-offset is %d, want at least 0, or end", o.n)
	case o.n > ir.MaxParam:
		return fmt.Errorf("--q-offset is %d, want at most %d", o.n, int64(ir.MaxParam))
	}
	return nil
}

// place puts the queries of in where --q-offset says, and notes what was taken where it says nothing and others take something else.
func (o offset) place(a *app, in *qkv.Input) error {
	last := in.SeqK - in.SeqQ
	switch {
	case o.end && last < 0:
		return fmt.Errorf("--q-offset end is Sk - Sq, and there are %d queries and %d keys: give the position of query 0 as a number", in.SeqQ, in.SeqK)
	case o.end:
		in.QOffset = last
	default:
		in.QOffset = o.n
	}
	if !o.given && in.SeqQ > 0 && last > 0 {
		a.note("note: %d queries, %d keys, no --q-offset: the queries are the first ones (top-left, --q-offset 0); FlashAttention takes them as the last ones (bottom-right): --q-offset end, here %d",
			in.SeqQ, in.SeqK, last)
	}
	return nil
}

// load reads the tensors of --qkv, and notes where their shape looks like the other layout.
func (c *runCmd) load(a *app) (*qkv.Input, error) {
	in, err := qkv.LoadAs(c.QKV, qkv.Layout(c.Layout))
	if err != nil {
		return nil, err
	}
	if looksSwapped(in.Shape) {
		heads, rows, other := "Hq", "Sq", "bshd"
		if in.Layout == qkv.BSHD {
			other = "bhsd"
		}
		a.note("note: %s is %d and %s only %d as --layout %s reads the file; if it is the other way round, say --layout %s", heads, in.QHeads, rows, in.SeqQ, in.Layout, other)
	}
	return in, nil
}

// looksSwapped says whether there are so many more heads than queries that the two are probably the other way round. Single queries
// are common: each is a step of decoding.
func looksSwapped(s qkv.Shape) bool {
	return s.QHeads > 4*s.SeqQ && (s.SeqQ > 1 || s.QHeads > 256)
}
