// Package safetensors reads and writes files of named tensors in the safetensors layout: an 8-byte little-endian
// header length, a JSON header, then the tensors' bytes without gaps.
//
// It is our own because the reader stands between other people's files and a GPU: it refuses duplicate names, gaps,
// overlaps and sizes that overflow, never allocates more than the file can back, and reads one tensor at a time, so
// that a file larger than memory still opens.
package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"os"
	"sort"

	"github.com/minfc/minfc/internal/filekind"
)

// DType names an element type as the header spells it.
type DType string

// The element types minfc itself reads or writes.
const (
	BF16 DType = "BF16"
	F16  DType = "F16"
	F32  DType = "F32"
	U8   DType = "U8"
)

// bitsOf holds the types of the format, whose sizes are known. Files may mention later types as well: other tensors may lie
// beside ours, and nobody reads them.
var bitsOf = map[DType]uint64{
	"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
	"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
	"I16": 16, "U16": 16, "F16": 16, "BF16": 16,
	"I32": 32, "U32": 32, "F32": 32,
	"I64": 64, "U64": 64, "F64": 64, "C64": 64,
}

// maxHeader is the limit of the format itself, in bytes.
const maxHeader = 100_000_000

// Info describes one tensor of a file.
type Info struct {
	Name  string
	DType DType
	Shape []int

	begin, end uint64 // relative to the end of the header
}

// Bytes is the size of the tensor's data.
func (t Info) Bytes() int64 { return int64(t.end - t.begin) }

// File is an open file whose header has been checked.
type File struct {
	r       io.ReaderAt
	data    int64 // offset of the first tensor byte
	tensors []Info
	byName  map[string]int
	close   func() error
}

// Open opens and checks the file at path; "-" is standard input. Close it after use. Errors begin with the path.
func Open(path string) (*File, error) {
	if path == "-" {
		return openStream("standard input", os.Stdin)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.IsDir() && !st.Mode().IsRegular() {
		defer f.Close()
		return openStream(path, f)
	}
	if err == nil && st.IsDir() {
		err = fmt.Errorf("a folder, wanted a safetensors file")
	}
	var out *File
	if err == nil {
		out, err = New(f, st.Size())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out.close = f.Close
	return out, nil
}

// openStream reads all of a pipe: a file that cannot be read at an offset is held in memory.
func openStream(name string, r io.Reader) (*File, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f, err := New(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// New checks the file of the given size in r.
func New(r io.ReaderAt, size int64) (*File, error) {
	header, err := readHeader(r, size)
	if err != nil {
		return nil, err
	}
	tensors, err := parseHeader(header)
	if err != nil {
		return nil, fmt.Errorf("bad safetensors header: %w", err)
	}
	f := &File{r: r, data: 8 + int64(len(header)), tensors: tensors, byName: map[string]int{}}
	if err := checkLayout(tensors, uint64(size-f.data)); err != nil {
		return nil, err
	}
	for i, t := range tensors {
		f.byName[t.Name] = i
	}
	return f, nil
}

// Close releases the file.
func (f *File) Close() error {
	if f.close == nil {
		return nil
	}
	return f.close()
}

// Names returns the tensors' names, sorted.
func (f *File) Names() []string {
	var out []string
	for _, t := range f.tensors {
		out = append(out, t.Name)
	}
	sort.Strings(out)
	return out
}

// Lookup describes a tensor; false if there is none of that name.
func (f *File) Lookup(name string) (Info, bool) {
	i, ok := f.byName[name]
	if !ok {
		return Info{}, false
	}
	return f.tensors[i], true
}

// Read returns the bytes of a tensor, little-endian, row-major.
func (f *File) Read(name string) ([]byte, error) {
	t, ok := f.Lookup(name)
	if !ok {
		return nil, fmt.Errorf("no tensor %q, found %q", name, f.Names())
	}
	buf := make([]byte, t.Bytes())
	if _, err := f.r.ReadAt(buf, f.data+int64(t.begin)); err != nil && (err != io.EOF || len(buf) > 0) {
		return nil, fmt.Errorf("cannot read tensor %q: %w", name, err)
	}
	return buf, nil
}

// readHeader returns the header's bytes; the size bounds what it allocates.
func readHeader(r io.ReaderAt, size int64) ([]byte, error) {
	head := make([]byte, min(size, filekind.HeadBytes))
	if _, err := r.ReadAt(head, 0); err != nil && !(err == io.EOF && size == int64(len(head))) {
		return nil, fmt.Errorf("cannot read the header: %w", err)
	}
	if err := filekind.Refuse(head, "a safetensors file", filekind.Tensors); err != nil {
		return nil, fmt.Errorf("not a safetensors file: %w", err)
	}
	if size < 8+2 {
		return nil, fmt.Errorf("not a safetensors file: %d bytes cannot hold a header", size)
	}
	n := binary.LittleEndian.Uint64(head)
	switch {
	case n > maxHeader:
		return nil, fmt.Errorf("not a safetensors file: its first bytes announce a header of %d bytes, the limit is %d", n, maxHeader)
	case n > uint64(size)-8:
		return nil, fmt.Errorf("truncated: the header should be %d bytes long, the file has %d after the length", n, size-8)
	}
	header := make([]byte, n)
	if _, err := r.ReadAt(header, 8); err != nil {
		return nil, fmt.Errorf("cannot read the header: %w", err)
	}
	return header, nil
}

// checkLayout sorts the tensors by place and proves that they fill the data exactly: no gap, no overlap, no tail.
func checkLayout(tensors []Info, data uint64) error {
	sort.SliceStable(tensors, func(i, j int) bool {
		a, b := tensors[i], tensors[j]
		return a.begin < b.begin || a.begin == b.begin && a.end < b.end
	})
	at := uint64(0)
	for _, t := range tensors {
		switch {
		case !t.fits():
			return fmt.Errorf("bad safetensors header: tensor %q of type %s and shape %v cannot lie at bytes %d to %d", t.Name, t.DType, t.Shape, t.begin, t.end)
		case t.begin != at:
			return fmt.Errorf("bad safetensors header: tensor %q begins at byte %d, wanted %d: gaps and overlaps are not allowed", t.Name, t.begin, at)
		}
		at = t.end
	}
	switch {
	case at > data:
		return fmt.Errorf("truncated: the header describes %d bytes of tensors, the file holds %d", at, data)
	case at < data:
		return fmt.Errorf("bad safetensors file: %d bytes follow the last tensor", data-at)
	}
	return nil
}

// fits says whether the bytes of t are as many as its type and shape need. Of a type that is not known only this much is certain:
// no elements have no bytes, and elements have some.
func (t Info) fits() bool {
	if t.end < t.begin {
		return false
	}
	if bitsOf[t.DType] == 0 {
		t.DType = "U8"
		n, ok := sizeOf(t)
		return ok && (n == 0) == (t.begin == t.end)
	}
	n, ok := sizeOf(t)
	return ok && t.end-t.begin == n
}

// sizeOf returns the bytes of a tensor of a known type; false when they overflow or are no whole number.
func sizeOf(t Info) (uint64, bool) {
	n, over := bitsOf[t.DType], uint64(0)
	for _, d := range t.Shape {
		if over, n = bits.Mul64(n, uint64(d)); over != 0 {
			return 0, false
		}
	}
	return n / 8, n%8 == 0 && n <= 1<<62
}
