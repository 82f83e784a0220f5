// Package filekind tells from the first bytes of a file what it is, so that a file in the place of another one is named.
package filekind

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
)

// Kind is what a file is; see the table.
type Kind int

// The kinds that minfc reads. Others are told apart for messages alone.
const (
	Unknown Kind = iota
	Tensors
	Artifact
	Plan
	Pattern
	Empty
	other // the first kind that minfc does not read
)

// kinds holds what each kind is called and what to do with such a file.
var kinds = map[Kind]struct{ name, advice string }{
	Tensors:  {"a safetensors file", "tensors are given with --qkv"},
	Artifact: {"a compiled artifact", "artifacts are run: minfc run FILE, or beside --plan those of minfc plan compile"},
	Plan:     {"JSON, as head plans are", "a head plan is given with --plan, or to minfc plan"},
	Pattern:  {"the text of a pattern", "a pattern is given as FILE, without a flag"},
	Empty:    {"an empty file", "write it again: the program that made it may have failed"},
}

// magics are the first bytes of files that other programs write; their kinds are counted from other on.
var magics = []struct{ magic, name, advice string }{
	{"PK\x03\x04", "a zip archive, as torch.save writes them", saveTorch},
	{"\x80\x02", "a Python pickle", saveTorch},
	{"\x80\x03", "a Python pickle", saveTorch},
	{"\x80\x04", "a Python pickle", saveTorch},
	{"\x80\x05", "a Python pickle", saveTorch},
	{"\x93NUMPY", "a NumPy array", "save the tensors with safetensors.numpy.save_file and give them with --qkv"},
	{"GGUF", "a GGUF model", "save q, k and v of a layer with safetensors and give them with --qkv"},
	{"\x89HDF", "an HDF5 file", "save the tensors with safetensors and give them with --qkv"},
	{"\x1f\x8b", "a gzip archive", "unpack it first, with gunzip"},
	{"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it first, with unzstd"},
	{"\xfd7zXZ\x00", "an xz archive", "unpack it first, with unxz"},
	{"BZh", "a bzip2 archive", "unpack it first, with bunzip2"},
	{"\x7fELF", "a program or library", "name another file"},
	{"%PDF-", "a PDF document", "name another file"},
	{"\xff\xfe", "UTF-16 text", "save it as UTF-8"},
	{"\xfe\xff", "UTF-16 text", "save it as UTF-8"},
}

const saveTorch = "save the tensors with safetensors.torch.save_file and give them with --qkv"

// HeadBytes is how many bytes of a file are enough for Of.
const HeadBytes = 4096

var (
	// The text of a pattern begins with comments and its keyword, whose misspellings are for the parser.
	patternText = regexp.MustCompile(`^(\x{feff})?\s*(//|pattern\s+\w)`)
	jsonText    = regexp.MustCompile(`^(\x{feff})?\s*(\{\s*("|\}|$)|\[\s*(\{|\[|\]|"|$))`)
)

// Of tells the kind of a file from its first bytes, HeadBytes of them or the whole file.
func Of(head []byte) Kind {
	if len(head) == 0 {
		return Empty
	}
	if bytes.HasPrefix(head, []byte("MINFC\n")) {
		return Artifact
	}
	for i, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return other + Kind(i)
		}
	}
	head = head[:min(len(head), HeadBytes)]
	switch {
	case len(head) > 9 && head[8] == '{' && binary.LittleEndian.Uint64(head) <= 100_000_000:
		return Tensors
	case jsonText.Match(head):
		return Plan
	case patternText.Match(head):
		return Pattern
	}
	return Unknown
}

// String names the kind with its article.
func (k Kind) String() string {
	if k >= other {
		return magics[k-other].name
	}
	return kinds[k].name
}

// Advice is what to do with such a file.
func (k Kind) Advice() string {
	if k >= other {
		return magics[k-other].advice
	}
	return kinds[k].advice
}

// Refuse returns an error for a file that is certainly not of one of the kinds that are wanted, in words; else nil.
func Refuse(data []byte, wanted string, kinds ...Kind) error {
	k := Of(data)
	for _, ok := range append(kinds, Unknown) {
		if k == ok {
			return nil
		}
	}
	return fmt.Errorf("found %s, wanted %s: %s", k, wanted, k.Advice())
}
