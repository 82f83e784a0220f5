package flags

import (
	"fmt"

	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
)

// Offset is the value of --q-offset: the position of query row 0, or end, where the last query sits at the last key.
type Offset struct {
	N     int
	end   bool
	given bool
}

func (o *Offset) UnmarshalText(text []byte) error {
	if o.given = true; string(text) == "end" {
		o.end = true
		return nil
	}
	n, err := parseCount(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a position, want an integer such as 4096 or 4k, or end for Sk - Sq", text)
	}
	o.N = int(n)
	return nil
}

// Check finds what is wrong whatever the tensors are.
func (o Offset) Check() error {
	switch {
	case o.N < 0:
		return failure.Usagef("--q-offset is %d, want at least 0, or end", o.N)
	case o.N > ir.MaxParam:
		return fmt.Errorf("--q-offset is %d, want at most %d", o.N, int64(ir.MaxParam))
	}
	return nil
}

// Place puts the queries of in where the flag says; the note is about what was taken where it says nothing and others take something else.
func (o Offset) Place(in *qkv.Input) (note string, err error) {
	last := in.SeqK - in.SeqQ
	switch {
	case o.end && last < 0:
		return "", fmt.Errorf("--q-offset end is Sk - Sq, and there are %d queries and %d keys: give the position of query 0 as a number", in.SeqQ, in.SeqK)
	case o.end:
		in.QOffset = last
	default:
		in.QOffset = o.N
	}
	if !o.given && in.SeqQ > 0 && last > 0 {
		note = fmt.Sprintf("note: %d queries, %d keys, no --q-offset: the queries are the first ones (top-left, --q-offset 0); FlashAttention takes them as the last ones (bottom-right): --q-offset end, here %d",
			in.SeqQ, in.SeqK, last)
	}
	return note, nil
}
