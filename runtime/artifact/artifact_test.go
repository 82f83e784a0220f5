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
		{"damaged text", bytes.Replace(data, []byte("PTX of attend"), []byte("PTX of attned"), 1), artifact.ErrDamaged, "checksum"},
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
func takes(k *artifact.Code, name, kind string) {
	k.Params = append(slices.Clone(k.Params), artifact.Param{Name: name, Type: kind})
}

// badManifest is what is wrong with a manifest, and what the error says of it.
type badManifest struct {
	says   string
	damage func(m *artifact.Manifest, k *artifact.Code)
}

func (c badManifest) check(t *testing.T) {
	a := artifacttest.New()
	c.damage(&a.Manifest, artifacttest.Attend(a))
	_, err := a.Encode()
	require.ErrorIs(t, err, artifact.ErrManifest, c.says)
	require.ErrorContains(t, err, c.says)
}

func TestBadManifests(t *testing.T) {
	for _, c := range []badManifest{
		{"it has 1 patterns for 0 targets", func(m *artifact.Manifest, k *artifact.Code) { m.Builds = nil }},
		{"there is no kernel store_words", func(m *artifact.Manifest, k *artifact.Code) { m.Patterns[0].Lowered[0].Kernels = nil }},
		{"pattern 0: ", func(m *artifact.Manifest, k *artifact.Code) { m.Patterns[0].Text = "nonsense" }},
		{"schedule: ", func(m *artifact.Manifest, k *artifact.Code) { m.Patterns[0].Lowered[0].Schedule = "nonsense" }},
		{"segments 0 and 1 may keep the same pair", func(m *artifact.Manifest, k *artifact.Code) {
			_, s := artifacttest.AShape()
			s.Segments[1].Hi = s.Segments[1].Hi[:1]
			m.Patterns[0].Lowered[0].Schedule = s.String()
		}},
		{`entry is "two words"`, func(m *artifact.Manifest, k *artifact.Code) { k.Entry = "two words" }},
		{`target is "sm80"`, func(m *artifact.Manifest, k *artifact.Code) { k.Target = "sm80" }},
		{`dtype is "fp8", want bf16 or f16`, func(m *artifact.Manifest, k *artifact.Code) { m.Builds[0].DType = "fp8" }},
		{"head_dim is 72, want a multiple of 16", func(m *artifact.Manifest, k *artifact.Code) { m.Builds[0].HeadDim = 72 }},
		{"head_dim is 272", func(m *artifact.Manifest, k *artifact.Code) { m.Builds[0].HeadDim = 272 }},
		{"block_rows is 8", func(m *artifact.Manifest, k *artifact.Code) { k.BlockRows = 8 }},
		{"build 1: there are two for head dim 64, bf16, sm_80", func(m *artifact.Manifest, k *artifact.Code) { m.Builds[1] = m.Builds[0] }},
		{"build 0: group: code is 9, want one of 3", func(m *artifact.Manifest, k *artifact.Code) { m.Builds[0].Groups = []int{9} }},
		{`kernel "attend": code is -1, want one of 3`, func(m *artifact.Manifest, k *artifact.Code) { m.Patterns[0].Lowered[0].Kernels[0].Code = -1 }},
		{"program is 1, want one of 1", func(m *artifact.Manifest, k *artifact.Code) { m.Patterns[0].Lowered[1].Program = 1 }},
		{"pattern 0 is lowered 1 times, want once for each of 2 builds", func(m *artifact.Manifest, k *artifact.Code) { m.Patterns[0].Lowered = m.Patterns[0].Lowered[:1] }},
		{"dense_schedule is there, want it without lists, beside a schedule with lists", func(m *artifact.Manifest, k *artifact.Code) {
			m.Patterns[0].Lowered[0].Dense = m.Patterns[0].Lowered[0].Schedule
		}},
		{"threads is 1056", func(m *artifact.Manifest, k *artifact.Code) { k.Threads = 1056 }},
		{"shared_bytes is -1", func(m *artifact.Manifest, k *artifact.Code) { k.SharedBytes = -1 }},
		{"module is 3, want one of the file's 3", func(m *artifact.Manifest, k *artifact.Code) { k.Module = 3 }},
		{`ptx_version is ""`, func(m *artifact.Manifest, k *artifact.Code) { k.PTXVersion = "" }},
		{"missing: q_batch", func(m *artifact.Manifest, k *artifact.Code) { k.Params[5].Name = "q_bach" }},
		{`parameter "q" has type "i64", want ptr`, func(m *artifact.Manifest, k *artifact.Code) { k.Params[0].Type = "i64" }},
		{`parameter "q_batch" has type "i32", want i64`, func(m *artifact.Manifest, k *artifact.Code) { k.Params[5].Type = "i32" }},
		{`parameter "lse" has type "u16x128", want ptr`, func(m *artifact.Manifest, k *artifact.Code) { k.Params[4].Type = abi.RowHeadsType }},
		{`parameter "k" is listed twice`, func(m *artifact.Manifest, k *artifact.Code) { k.Params[2].Name = "k" }},
		{`parameter "more" has type "i16"`, func(m *artifact.Manifest, k *artifact.Code) { takes(k, "more", "i16") }},
		{"missing: route, taken", func(m *artifact.Manifest, k *artifact.Code) { k.Params = k.Params[:len(k.Params)-2] }},
		{"missing: p_sink", func(m *artifact.Manifest, k *artifact.Code) { k.Params[len(k.Params)-4].Name = "p_sinc" }},
		{"parameter more of attend has no argument, and nothing else is called more", func(m *artifact.Manifest, k *artifact.Code) { takes(k, "more", "i32") }},
		{"parameter more of attend is of type u16x128, which programs have no values of", func(m *artifact.Manifest, k *artifact.Code) { takes(k, "more", abi.RowHeadsType) }},
		{"part attend: buffer queue is read before it is written", func(m *artifact.Manifest, k *artifact.Code) { takes(k, "queue", "ptr") }},
		{"program: ", func(m *artifact.Manifest, k *artifact.Code) { m.Programs[0] = "nonsense" }},
		{"program a_shape has no part attend", func(m *artifact.Manifest, k *artifact.Code) {
			m.Programs[0], _, _ = strings.Cut(m.Programs[0], "part attend")
		}},
		{"part attend: there is no kernel atend", func(m *artifact.Manifest, k *artifact.Code) {
			m.Programs[0] = strings.Replace(m.Programs[0], "run attend", "run atend", 1)
		}},
		{`kernel name is "attend", want one of its own`, func(m *artifact.Manifest, k *artifact.Code) { m.Patterns[0].Lowered[0].Kernels[1].Name = "attend" }},
		{"parameter w1 of store_words is of type i32, want i64", func(m *artifact.Manifest, k *artifact.Code) { m.Codes[1].Params[2].Type = "i32" }},
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
	artifacttest.Attend(withTensorMaps).Params = artifacttest.WithMaps(artifacttest.Attend(withTensorMaps).Params, "q", "k")
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
	for i := range a.Manifest.Builds {
		if loaded, err := runtime.Load(devicetest.New(), a, a.Manifest.Builds[i].Select()); err == nil {
			require.NoError(t, loaded.Close())
		}
	}
}
