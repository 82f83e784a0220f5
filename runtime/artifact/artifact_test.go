package artifact

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite golden files")

func encoded(t testing.TB) []byte {
	data, err := testArtifact().Encode()
	require.NoError(t, err)
	return data
}

func TestArtifactRoundTrip(t *testing.T) {
	data := encoded(t)
	got, err := Read(data)
	require.NoError(t, err)
	require.Equal(t, testArtifact(), got)
	again, err := got.Encode()
	require.NoError(t, err)
	require.Equal(t, data, again, "the same artifact gives the same bytes")
	require.True(t, Is(data))
	require.False(t, Is([]byte("pattern a {}")))
}

// The file of a fixed artifact: a change here is a change of the format, which needs a new version.
func TestArtifactFormat(t *testing.T) {
	golden := filepath.Join("testdata", "a_shape.minf")
	if *update {
		require.NoError(t, os.WriteFile(golden, encoded(t), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(encoded(t)))
}

func TestArtifactDoesNotShareItsFile(t *testing.T) {
	data := encoded(t)
	a, err := Read(data)
	require.NoError(t, err)
	clear(data)
	require.Equal(t, testArtifact(), a)
}

func TestEveryTruncationIsTold(t *testing.T) {
	data := encoded(t)
	for n := range len(data) {
		_, err := Read(data[:n])
		require.Error(t, err, "%d bytes", n)
		if n > 0 {
			require.ErrorIs(t, err, ErrTruncated, "%d bytes", n)
		}
	}
}

func TestEveryFlippedBitIsTold(t *testing.T) {
	data := encoded(t)
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i % 8)
		_, err := Read(bad)
		require.Error(t, err, "byte %d", i)
	}
}

// reseal puts a right checksum under changed bytes.
func reseal(data []byte) []byte {
	body := data[:len(data)-sha256.Size]
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}

func TestForeignFiles(t *testing.T) {
	data := encoded(t)
	newer := bytes.Clone(data)
	binary.LittleEndian.PutUint16(newer[6:], 7)
	for _, c := range []struct {
		name string
		data []byte
		kind error
		says string
	}{
		{"empty", nil, ErrNotArtifact, "does not begin with"},
		{"a pattern", []byte("pattern a_shape() {}\n"), ErrNotArtifact, "does not begin with"},
		{"newer format", reseal(newer), ErrVersion, "format 7, this program reads format 1; it was written by a newer compiler"},
		{"damaged text", bytes.Replace(data, []byte("PTX of bf16"), []byte("PTX of bf61"), 1), ErrDamaged, "checksum"},
		{"longer", append(bytes.Clone(data), "more"...), ErrDamaged, "4 bytes follow its end"},
		{"huge counts", append([]byte("MINFC\n\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff"), make([]byte, 99)...), ErrDamaged, "asks for"},
		{"newer schema", reseal(bytes.Replace(data, []byte(`"schema": 2`), []byte(`"schema": 3`), 1)), ErrVersion, "schema 3"},
		{"older schema", reseal(bytes.Replace(data, []byte(`"schema": 2`), []byte(`"schema": 1`), 1)), ErrVersion, "compile the pattern again"},
		{"unknown field", reseal(bytes.Replace(data, []byte(`"threads"`), []byte(`"threats"`), 1)), ErrManifest, "threats"},
		{"no JSON", reseal(bytes.Replace(data, []byte(`"compiler":`), []byte(`"compiler"!`), 1)), ErrManifest, "invalid character"},
	} {
		_, err := Read(c.data)
		require.ErrorIs(t, err, c.kind, c.name)
		require.ErrorContains(t, err, c.says, c.name)
	}
}

func TestBadManifests(t *testing.T) {
	for _, c := range []struct {
		says   string
		damage func(m *Manifest, k *Kernel)
	}{
		{"lists no kernels", func(m *Manifest, k *Kernel) { m.Kernels = nil }},
		{"pattern: ", func(m *Manifest, k *Kernel) { m.Pattern = "nonsense" }},
		{"schedule: ", func(m *Manifest, k *Kernel) { k.Schedule = "nonsense" }},
		{"segments 0 and 1 may keep the same pair", func(m *Manifest, k *Kernel) {
			_, s := aShape()
			s.Segments[1].Hi = s.Segments[1].Hi[:1]
			k.Schedule = s.String()
		}},
		{"tiles of 128x64, the kernel to 64x64", func(m *Manifest, k *Kernel) { k.RowTile = 64 }},
		{`entry is "two words"`, func(m *Manifest, k *Kernel) { k.Entry = "two words" }},
		{`target is "sm80"`, func(m *Manifest, k *Kernel) { k.Target = "sm80" }},
		{`dtype is "fp8", want bf16 or f16`, func(m *Manifest, k *Kernel) { k.DType = "fp8" }},
		{"head_dim is 72, want a multiple of 16", func(m *Manifest, k *Kernel) { k.HeadDim = 72 }},
		{"head_dim is 272", func(m *Manifest, k *Kernel) { k.HeadDim = 272 }},
		{"row_tile is 0", func(m *Manifest, k *Kernel) { k.RowTile = 0 }},
		{"key_tile is 8", func(m *Manifest, k *Kernel) { k.KeyTile = 8 }},
		{"threads is 1056", func(m *Manifest, k *Kernel) { k.Threads = 1056 }},
		{"shared_bytes is -1", func(m *Manifest, k *Kernel) { k.SharedBytes = -1 }},
		{"module is 3, want one of the file's 3", func(m *Manifest, k *Kernel) { k.Module = 3 }},
		{`ptx_version is ""`, func(m *Manifest, k *Kernel) { k.PTXVersion = "" }},
		{`parameter "q_bach" is unknown`, func(m *Manifest, k *Kernel) { k.Params[5].Name = "q_bach" }},
		{`parameter "q" has type "i64", want ptr`, func(m *Manifest, k *Kernel) { k.Params[0].Type = "i64" }},
		{`parameter "k" is listed twice`, func(m *Manifest, k *Kernel) { k.Params[2].Name = "k" }},
		{"missing: p_sink, p_window", func(m *Manifest, k *Kernel) { k.Params = k.Params[:len(k.Params)-2] }},
		{`parameter "p_sinc" is unknown`, func(m *Manifest, k *Kernel) { k.Params[len(k.Params)-2].Name = "p_sinc" }},
	} {
		a := testArtifact()
		c.damage(&a.Manifest, &a.Manifest.Kernels[0])
		_, err := a.Encode()
		require.ErrorIs(t, err, ErrManifest, c.says)
		require.ErrorContains(t, err, c.says)
	}
}

func TestReadArtifactFileNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.minf")
	require.NoError(t, WriteFileAtomic(path, encoded(t)))
	a, err := ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, testArtifact(), a)
	require.NoError(t, WriteFileAtomic(path, []byte("nonsense")))
	_, err = ReadFile(path)
	require.ErrorIs(t, err, ErrNotArtifact)
	require.ErrorContains(t, err, path)
	_, err = ReadFile(path + ".missing")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzReadArtifact(f *testing.F) {
	data := encoded(f)
	f.Add(data)
	f.Add(data[:len(data)/2])
	withTensorMaps := testArtifact()
	withTensorMaps.Manifest.Kernels[0].Params = withMaps(withTensorMaps.Manifest.Kernels[0].Params, "q", "k")
	mapped, err := withTensorMaps.Encode()
	require.NoError(f, err)
	f.Add(mapped)
	f.Add([]byte("MINFC\n\x01\x00\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tryArtifact(t, data)
		if len(data) > headerBytes+sha256.Size { // past the checksum, which no mutation hits by itself
			tryArtifact(t, reseal(data))
		}
	})
}

// tryArtifact reads data: what is accepted must survive a round trip and load on a device.
func tryArtifact(t *testing.T, data []byte) {
	a, err := Read(data)
	if err != nil {
		return
	}
	again, err := a.Encode()
	require.NoError(t, err)
	b, err := Read(again)
	require.NoError(t, err)
	require.Equal(t, a, b)
	if a.IsPlan() {
		g := a.Manifest.Groups[0]
		if loaded, err := LoadGroups(newFakeDevice(), a, Select{g.HeadDim, g.DType, g.Target}); err == nil {
			require.NoError(t, loaded.Close())
		}
		return
	}
	k := a.Manifest.Kernels[0]
	if loaded, err := LoadKernel(newFakeDevice(), a, Select{k.HeadDim, k.DType, k.Target}); err == nil {
		require.NoError(t, loaded.Close())
	}
}
