package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// file builds a file of a header and n data bytes 0, 1, 2, ...
func file(header string, n int) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	out = append(out, header...)
	for i := range n {
		out = append(out, byte(i))
	}
	return out
}

func open(src []byte) (*File, error) { return New(bytes.NewReader(src), int64(len(src))) }

func TestReadTensors(t *testing.T) {
	f, err := open(file(`{"__metadata__":{"format":"pt"},"k":{"dtype":"BF16","shape":[2,2],"data_offsets":[4,12]},`+
		`"q":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"none":{"dtype":"U8","shape":[0,9],"data_offsets":[12,12]}}   `, 12))
	require.NoError(t, err)
	require.Equal(t, []string{"k", "none", "q"}, f.Names())
	info, ok := f.Lookup("k")
	require.True(t, ok)
	require.Equal(t, BF16, info.DType)
	require.Equal(t, []int{2, 2}, info.Shape)
	k, err := f.Read("k")
	require.NoError(t, err)
	require.Equal(t, []byte{4, 5, 6, 7, 8, 9, 10, 11}, k)
	none, err := f.Read("none")
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = f.Read("v")
	require.ErrorContains(t, err, `no tensor "v", found ["k" "none" "q"]`)
}

func TestBadFiles(t *testing.T) {
	entry := func(s string) string { return `{"q":` + s + `}` }
	good := `{"dtype":"U8","shape":[2],"data_offsets":[0,2]}`
	for _, c := range []struct {
		name, want string
		src        []byte
	}{
		{"empty", "found an empty file, wanted a safetensors file", nil},
		{"short", "9 bytes cannot hold a header", make([]byte, 9)},
		{"torch", "found a zip archive, as torch.save writes them, wanted a safetensors file: save the tensors with safetensors", append([]byte("PK\x03\x04"), make([]byte, 60)...)},
		{"text", "announce a header of", []byte("this is a text file, not tensors")},
		{"header cut", "truncated: the header should be 53 bytes long, the file has 10", file(entry(good), 0)[:18]},
		{"data cut", "truncated: the header describes 2 bytes of tensors, the file holds 1", file(entry(good), 1)},
		{"tail", "3 bytes follow the last tensor", file(entry(good), 5)},
		{"no brace", "does not begin with '{'", file(" "+entry(good), 2)},
		{"not utf-8", "not valid utf-8", file("{\"\xff\":"+good+"}", 2)},
		{"open brace", "EOF", file(`{"q":`+good, 2)},
		{"after brace", "1 bytes follow the closing brace", file(entry(good)+"x", 2)},
		{"twice", `name "q" appears twice`, file(`{"q":`+good+`,"q":`+good+`}`, 2)},
		{"field twice", `name "dtype" appears twice`, file(entry(`{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}`), 2)},
		{"field missing", "one is missing", file(entry(`{"dtype":"U8","shape":[2]}`), 2)},
		{"field unknown", `unknown field "strides"`, file(entry(`{"strides":[1],"dtype":"U8","shape":[2],"data_offsets":[0,2]}`), 2)},
		{"type empty", `the type is empty`, file(entry(`{"dtype":"","shape":[2],"data_offsets":[0,2]}`), 2)},
		{"type unknown, backwards", `cannot lie at bytes 2 to 0`, file(entry(`{"dtype":"U7","shape":[2],"data_offsets":[2,0]}`), 2)},
		{"type unknown, gap", `begins at byte 1, wanted 0`, file(entry(`{"dtype":"U7","shape":[2],"data_offsets":[1,2]}`), 2)},
		{"type unknown, past the end", `truncated: the header describes 3 bytes`, file(entry(`{"dtype":"U7","shape":[2],"data_offsets":[0,3]}`), 2)},
		{"type unknown, no bytes", `cannot lie at bytes 0 to 0`, file(entry(`{"dtype":"U7","shape":[2],"data_offsets":[0,0]}`), 0)},
		{"type unknown, bytes of nothing", `cannot lie at bytes 0 to 2`, file(entry(`{"dtype":"U7","shape":[0,7],"data_offsets":[0,2]}`), 2)},
		{"offsets", "1 data_offsets, wanted 2", file(entry(`{"dtype":"U8","shape":[2],"data_offsets":[2]}`), 2)},
		{"negative", "found -2, wanted an integer", file(entry(`{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}`), 2)},
		{"fraction", "found 2.0, wanted an integer", file(entry(`{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}`), 2)},
		{"size", "cannot lie at bytes 0 to 2", file(entry(`{"dtype":"U8","shape":[3],"data_offsets":[0,2]}`), 2)},
		{"backwards", "cannot lie at bytes 2 to 0", file(entry(`{"dtype":"U8","shape":[2],"data_offsets":[2,0]}`), 2)},
		{"overflow", "cannot lie", file(entry(`{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,0]}`), 0)},
		{"half byte", "cannot lie", file(entry(`{"dtype":"F4","shape":[3],"data_offsets":[0,1]}`), 1)},
		{"size of fnuz", "cannot lie", file(entry(`{"dtype":"F8_E4M3FNUZ","shape":[3],"data_offsets":[0,2]}`), 2)},
		{"gap", "begins at byte 1, wanted 0", file(entry(`{"dtype":"U8","shape":[1],"data_offsets":[1,2]}`), 2)},
		{"overlap", "gaps and overlaps are not allowed", file(`{"q":`+good+`,"k":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3)},
		{"metadata", `__metadata__, "a": found 1, wanted a string`, file(`{"__metadata__":{"a":1}}`, 0)},
		{"metadata null inside", `__metadata__, "a": found null, wanted a string`, file(`{"__metadata__":{"a":null}}`, 0)},
		{"metadata list", "__metadata__: found [, wanted an object of strings or null", file(`{"__metadata__":[]}`, 0)},
		{"metadata twice", `name "__metadata__" appears twice`, file(`{"__metadata__":null,"__metadata__":{}}`, 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := open(c.src)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// Tensors of every type of the format, and of types that are not known, may lie beside ours; a metadata that is null is none.
func TestTypesBesideOurs(t *testing.T) {
	sizes := map[string]int{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F8_E8M0": 8, "C64": 64, "F5_LATER": 5, "I256": 256}
	for dtype := range bitsOf {
		sizes[string(dtype)] = int(bitsOf[dtype])
	}
	for dtype, n := range sizes {
		for _, meta := range []string{"", `"__metadata__":null,`, `"__metadata__":{},`} {
			f, err := open(file(fmt.Sprintf(`{%s"q":{"dtype":"U8","shape":[2],"data_offsets":[%d,%d]},"s":{"dtype":%q,"shape":[2,4],"data_offsets":[0,%d]}}`,
				meta, n, n+2, dtype, n), n+2))
			require.NoError(t, err, dtype)
			q, err := f.Read("q")
			require.NoError(t, err)
			require.Equal(t, []byte{byte(n), byte(n + 1)}, q)
		}
	}
}

func TestOpenNamesThePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.safetensors")
	require.NoError(t, os.WriteFile(path, []byte("short"), 0o600))
	_, err := Open(path)
	require.ErrorContains(t, err, path+": not a safetensors file")
	_, err = Open(t.TempDir())
	require.ErrorContains(t, err, "a folder, wanted a safetensors file")
}

func TestEncodeThenRead(t *testing.T) {
	lse := Tensor{"lse", F32, []int{1, 2}, []byte("abcdefgh")}
	o := Tensor{"o", BF16, []int{1, 1, 3}, []byte("ABCDEF")}
	a, err := Encode([]Tensor{o, lse})
	require.NoError(t, err)
	b, err := Encode([]Tensor{lse, o})
	require.NoError(t, err)
	require.Equal(t, a, b, "the order given must not matter")
	require.Zero(t, binary.LittleEndian.Uint64(a)%8, "tensors must be aligned")

	f, err := open(a)
	require.NoError(t, err)
	got, err := f.Read("o")
	require.NoError(t, err)
	require.Equal(t, o.Data, got)
	info, _ := f.Lookup("lse")
	require.Equal(t, []int{1, 2}, info.Shape)
}

func TestEncodeRefusesWhatItCouldNotRead(t *testing.T) {
	for _, c := range []struct {
		want string
		ts   []Tensor
	}{
		{"got 1 bytes, wanted 2", []Tensor{{"o", U8, []int{2}, []byte("a")}}},
		{"cannot hold", []Tensor{{"o", "X9", []int{1}, []byte("a")}}},
		{"cannot hold", []Tensor{{"o", U8, []int{-1}, nil}}},
		{"is taken", []Tensor{{"o", U8, []int{0}, nil}, {"o", U8, []int{0}, nil}}},
	} {
		_, err := Encode(c.ts)
		require.ErrorContains(t, err, c.want)
	}
}

// FuzzOpen: whatever the bytes, no panic, and every tensor of an accepted file can be read and written again.
func FuzzOpen(f *testing.F) {
	f.Add(file(`{"q":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"k":{"dtype":"F32","shape":[1,1],"data_offsets":[2,6]}}`, 6))
	f.Add(file(`{}`, 0))
	f.Add([]byte("PK\x03\x04 not tensors"))
	f.Fuzz(func(t *testing.T, src []byte) {
		in, err := open(src)
		if err != nil {
			return
		}
		var ts []Tensor
		for _, name := range in.Names() {
			data, err := in.Read(name)
			require.NoError(t, err)
			info, _ := in.Lookup(name)
			ts = append(ts, Tensor{name, info.DType, info.Shape, data})
		}
		if slices.ContainsFunc(ts, func(x Tensor) bool { return bitsOf[x.DType] == 0 }) {
			return
		}
		out, err := Encode(ts)
		require.NoError(t, err)
		_, err = open(out)
		require.NoError(t, err)
	})
}
