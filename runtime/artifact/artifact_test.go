package artifact_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/files"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/artifact/artifacttest"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

var update = flag.Bool("update", false, "rewrite golden files")

func encoded(t testing.TB) []byte {
	data, err := artifacttest.New().Encode()
	require.NoError(t, err)
	return data
}

func TestArtifactRoundTrip(t *testing.T) {
	data := encoded(t)
	got, err := artifact.Read(data)
	require.NoError(t, err)
	require.Equal(t, artifacttest.New(), got)
	again, err := got.Encode()
	require.NoError(t, err)
	require.Equal(t, data, again, "the same artifact gives the same bytes")
	require.True(t, artifact.Is(data))
	require.False(t, artifact.Is([]byte("pattern a {}")))
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
	a, err := artifact.Read(data)
	require.NoError(t, err)
	clear(data)
	require.Equal(t, artifacttest.New(), a)
}

func TestEveryTruncationIsTold(t *testing.T) {
	data := encoded(t)
	for n := range len(data) {
		_, err := artifact.Read(data[:n])
		require.Error(t, err, "%d bytes", n)
		if n > 0 {
			require.ErrorIs(t, err, artifact.ErrTruncated, "%d bytes", n)
		}
	}
}

func TestEveryFlippedBitIsTold(t *testing.T) {
	data := encoded(t)
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i % 8)
		_, err := artifact.Read(bad)
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
		{"empty", nil, artifact.ErrNotArtifact, "does not begin with"},
		{"a pattern", []byte("pattern a_shape() {}\n"), artifact.ErrNotArtifact, "does not begin with"},
		{"newer format", reseal(newer), artifact.ErrVersion, "format 7, this program reads format 1; it was written by a newer compiler"},
		{"damaged text", bytes.Replace(data, []byte("PTX of bf16"), []byte("PTX of bf61"), 1), artifact.ErrDamaged, "checksum"},
		{"longer", append(bytes.Clone(data), "more"...), artifact.ErrDamaged, "4 bytes follow its end"},
		{"huge counts", append([]byte("MINFC\n\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff"), make([]byte, 99)...), artifact.ErrDamaged, "asks for"},
		{"newer schema", reseal(bytes.Replace(data, []byte(`"schema": 3`), []byte(`"schema": 4`), 1)), artifact.ErrVersion, "schema 4"},
		{"older schema", reseal(bytes.Replace(data, []byte(`"schema": 3`), []byte(`"schema": 2`), 1)), artifact.ErrVersion, "compile the pattern again"},
		{"unknown field", reseal(bytes.Replace(data, []byte(`"threads"`), []byte(`"threats"`), 1)), artifact.ErrManifest, "threats"},
		{"no JSON", reseal(bytes.Replace(data, []byte(`"compiler":`), []byte(`"compiler"!`), 1)), artifact.ErrManifest, "invalid character"},
	} {
		_, err := artifact.Read(c.data)
		require.ErrorIs(t, err, c.kind, c.name)
		require.ErrorContains(t, err, c.says, c.name)
	}
}

// takes gives a kernel one parameter more.
func takes(k *artifact.Kernel, name, kind string) {
	k.Params = append(slices.Clone(k.Params), artifact.Param{Name: name, Type: kind})
}

// badManifest is what is wrong with a manifest, and what the error says of it.
type badManifest struct {
	says   string
	damage func(m *artifact.Manifest, k *artifact.Kernel)
}

func (c badManifest) check(t *testing.T) {
	a := artifacttest.New()
	c.damage(&a.Manifest, &a.Manifest.Kernels[0])
	_, err := a.Encode()
	require.ErrorIs(t, err, artifact.ErrManifest, c.says)
	require.ErrorContains(t, err, c.says)
}

func TestBadManifests(t *testing.T) {
	for _, c := range []badManifest{
		{"lists no kernels", func(m *artifact.Manifest, k *artifact.Kernel) { m.Kernels = nil }},
		{"pattern: ", func(m *artifact.Manifest, k *artifact.Kernel) { m.Pattern = "nonsense" }},
		{"schedule: ", func(m *artifact.Manifest, k *artifact.Kernel) { k.Schedule = "nonsense" }},
		{"segments 0 and 1 may keep the same pair", func(m *artifact.Manifest, k *artifact.Kernel) {
			_, s := artifacttest.AShape()
			s.Segments[1].Hi = s.Segments[1].Hi[:1]
			k.Schedule = s.String()
		}},
		{"tiles of 128x64, the kernel to 64x64", func(m *artifact.Manifest, k *artifact.Kernel) { k.RowTile = 64 }},
		{`entry is "two words"`, func(m *artifact.Manifest, k *artifact.Kernel) { k.Entry = "two words" }},
		{`target is "sm80"`, func(m *artifact.Manifest, k *artifact.Kernel) { k.Target = "sm80" }},
		{`dtype is "fp8", want bf16 or f16`, func(m *artifact.Manifest, k *artifact.Kernel) { k.DType = "fp8" }},
		{"head_dim is 72, want a multiple of 16", func(m *artifact.Manifest, k *artifact.Kernel) { k.HeadDim = 72 }},
		{"head_dim is 272", func(m *artifact.Manifest, k *artifact.Kernel) { k.HeadDim = 272 }},
		{"row_tile is 0", func(m *artifact.Manifest, k *artifact.Kernel) { k.RowTile = 0 }},
		{"key_tile is 8", func(m *artifact.Manifest, k *artifact.Kernel) { k.KeyTile = 8 }},
		{"threads is 1056", func(m *artifact.Manifest, k *artifact.Kernel) { k.Threads = 1056 }},
		{"shared_bytes is -1", func(m *artifact.Manifest, k *artifact.Kernel) { k.SharedBytes = -1 }},
		{"module is 3, want one of the file's 3", func(m *artifact.Manifest, k *artifact.Kernel) { k.Module = 3 }},
		{`ptx_version is ""`, func(m *artifact.Manifest, k *artifact.Kernel) { k.PTXVersion = "" }},
		{"missing: q_batch", func(m *artifact.Manifest, k *artifact.Kernel) { k.Params[5].Name = "q_bach" }},
		{`parameter "q" has type "i64", want ptr`, func(m *artifact.Manifest, k *artifact.Kernel) { k.Params[0].Type = "i64" }},
		{`parameter "q_batch" has type "i32", want i64`, func(m *artifact.Manifest, k *artifact.Kernel) { k.Params[5].Type = "i32" }},
		{`parameter "lse" has type "u16x128", want ptr`, func(m *artifact.Manifest, k *artifact.Kernel) { k.Params[4].Type = abi.HeadsType }},
		{`parameter "k" is listed twice`, func(m *artifact.Manifest, k *artifact.Kernel) { k.Params[2].Name = "k" }},
		{`parameter "more" has type "i16"`, func(m *artifact.Manifest, k *artifact.Kernel) { takes(k, "more", "i16") }},
		{"missing: route, taken", func(m *artifact.Manifest, k *artifact.Kernel) { k.Params = k.Params[:len(k.Params)-2] }},
		{"missing: p_sink", func(m *artifact.Manifest, k *artifact.Kernel) { k.Params[len(k.Params)-4].Name = "p_sinc" }},
		{"parameter more of attend has no argument, and nothing else is called more", func(m *artifact.Manifest, k *artifact.Kernel) { takes(k, "more", "i32") }},
		{"parameter more of attend is of type u16x128, which programs have no values of", func(m *artifact.Manifest, k *artifact.Kernel) { takes(k, "more", abi.HeadsType) }},
		{"blocks_per_sm is 2, want it above 0 for kernels with the parameter queue and 0 for others", func(m *artifact.Manifest, k *artifact.Kernel) { k.BlocksPerSM = 2 }},
		{"blocks_per_sm is 0, want it above 0", func(m *artifact.Manifest, k *artifact.Kernel) { takes(k, "queue", "ptr") }},
		{"no workspace for a queue", func(m *artifact.Manifest, k *artifact.Kernel) { takes(k, "queue", "ptr"); k.BlocksPerSM = 1 }},
		{"program: ", func(m *artifact.Manifest, k *artifact.Kernel) { k.Program = "nonsense" }},
		{"program a_shape has no part attend", func(m *artifact.Manifest, k *artifact.Kernel) {
			k.Program, _, _ = strings.Cut(k.Program, "part attend")
		}},
		{"part attend: there is no kernel atend", func(m *artifact.Manifest, k *artifact.Kernel) {
			k.Program = strings.Replace(k.Program, "run attend", "run atend", 1)
		}},
		{"there is no kernel store_words", func(m *artifact.Manifest, k *artifact.Kernel) { k.Index = nil }},
		{`name is "attend", want one of its own`, func(m *artifact.Manifest, k *artifact.Kernel) { k.Index[0].Name = "attend" }},
		{"parameter w1 of store_words is of type i32, want i64", func(m *artifact.Manifest, k *artifact.Kernel) {
			k.Index[0].Params = slices.Clone(k.Index[0].Params)
			k.Index[0].Params[2].Type = "i32"
		}},
	} {
		c.check(t)
	}
}

func TestReadArtifactFileNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.minf")
	require.NoError(t, files.Write(path, encoded(t)))
	a, err := artifact.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, artifacttest.New(), a)
	require.NoError(t, files.Write(path, []byte("nonsense")))
	_, err = artifact.ReadFile(path)
	require.ErrorIs(t, err, artifact.ErrNotArtifact)
	require.ErrorContains(t, err, path)
	_, err = artifact.ReadFile(path + ".missing")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzReadArtifact(f *testing.F) {
	data := encoded(f)
	f.Add(data)
	f.Add(data[:len(data)/2])
	withTensorMaps := artifacttest.New()
	withTensorMaps.Manifest.Kernels[0].Params = artifacttest.WithMaps(withTensorMaps.Manifest.Kernels[0].Params, "q", "k")
	mapped, err := withTensorMaps.Encode()
	require.NoError(f, err)
	f.Add(mapped)
	f.Add([]byte("MINFC\n\x01\x00\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tryArtifact(t, data)
		if len(data) > artifact.HeaderBytes+sha256.Size { // past the checksum, which no mutation hits by itself
			tryArtifact(t, reseal(data))
		}
	})
}

// tryArtifact reads data: what is accepted must survive a round trip and load on a device.
func tryArtifact(t *testing.T, data []byte) {
	a, err := artifact.Read(data)
	if err != nil {
		return
	}
	again, err := a.Encode()
	require.NoError(t, err)
	b, err := artifact.Read(again)
	require.NoError(t, err)
	require.Equal(t, a, b)
	if a.IsPlan() {
		g := a.Manifest.Groups[0]
		if loaded, err := runtime.LoadGroups(devicetest.New(), a, artifact.Select{HeadDim: g.HeadDim, DType: g.DType, Target: g.Target}); err == nil {
			require.NoError(t, loaded.Close())
		}
		return
	}
	k := a.Manifest.Kernels[0]
	if loaded, err := runtime.LoadKernel(devicetest.New(), a, artifact.Select{HeadDim: k.HeadDim, DType: k.DType, Target: k.Target}); err == nil {
		require.NoError(t, loaded.Close())
	}
}
