package job

import (
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/demo"
	"github.com/minfc/minfc/internal/qkv"
)

// makeInput loads the tensors, or makes some for the pattern, and puts the queries in their place.
func (j *Job) makeInput() (err error) {
	if j.In, err = j.tensors(); err != nil {
		return err
	}
	note, err := j.QOffset.Place(j.In)
	if note != "" {
		j.console.Note("%s", note)
	}
	return err
}

// tensors are the given ones, or generated in the type and head dim of the artifact's first build.
func (j *Job) tensors() (*qkv.Input, error) {
	if j.QKV != "" {
		return j.read()
	}
	shape, dtype := demo.Shape, abi.BF16
	shape.QOffset = j.QOffset.N
	if j.art != nil {
		build := j.art.Manifest.Builds[0]
		shape.HeadDim, dtype = build.HeadDim, abi.DType(build.DType)
	}
	return demo.Input(j.pattern.Name, shape, dtype)
}

// read reads the tensors of a file, and notes where their shape looks like the other layout.
func (j *Job) read() (*qkv.Input, error) {
	in, err := qkv.LoadAs(j.QKV, j.Layout)
	if err != nil {
		return nil, err
	}
	if looksSwapped(in.Shape) {
		heads, rows, other := "Hq", "Sq", "bshd"
		if in.Layout == qkv.BSHD {
			other = "bhsd"
		}
		j.console.Note("note: %s is %d and %s only %d as --layout %s reads the file; if it is the other way round, say --layout %s",
			heads, in.QHeads, rows, in.SeqQ, in.Layout, other)
	}
	return in, nil
}

// looksSwapped says whether there are so many more heads than queries that the two are probably the other way round. Single queries
// are common: each is a step of decoding.
func looksSwapped(s qkv.Shape) bool {
	return s.QHeads > 4*s.SeqQ && (s.SeqQ > 1 || s.QHeads > 256)
}
