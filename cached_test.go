package minfc_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/internal/cache"
	"github.com/minfc/minfc/plan"
	_ "github.com/minfc/minfc/runtime/cuda"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
	"github.com/minfc/minfc/runtime/emu"
)

// startVariable makes the test program one that starts attention and says what it loaded and in how many milliseconds.
const startVariable = "MINFC_TEST_START"

// TestMain keeps the tests out of the user's cache.
func TestMain(m *testing.M) {
	if pattern, is := os.LookupEnv(startVariable); is {
		if err := start(pattern); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Setenv("MINFC_CACHE", "off")
	os.Exit(m.Run())
}

// start starts a pattern on a device like an H200, or the plan of four patterns on a GPU if there is one.
func start(pattern string) error {
	dev, spec := device.Device(newHopper()), minfc.Spec{Pattern: pattern}
	if pattern == "" {
		var err error
		if spec, err = fourPatterns(); err != nil {
			return err
		}
		if dev, err = gpuOrNone(); err != nil {
			return err
		}
	}
	begin := time.Now()
	_, err := minfc.NewAttention(dev, spec, fourHeads)
	took := time.Since(begin)
	if err != nil {
		return err
	}
	loaded := "on a GPU"
	if h, is := dev.(*hopper); is {
		loaded = h.loaded()
	}
	fmt.Println(took.Microseconds(), loaded)
	return nil
}

// startProcess is start in a process of its own, which answers when it is asked; env are settings of its cache.
func startProcess(pattern string, env ...string) (wait func() (microseconds float64, loaded string, err error)) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), startVariable+"="+pattern), env...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	begun := cmd.Start()
	return func() (float64, string, error) {
		if err := errors.Join(begun, cmd.Wait()); err != nil {
			return 0, "", fmt.Errorf("%w: %s", err, &errs)
		}
		took, loaded, _ := strings.Cut(strings.TrimSpace(out.String()), " ")
		microseconds, err := strconv.ParseFloat(took, 64)
		return microseconds, loaded, err
	}
}

// fourPatterns is a layer of a model with four kinds of heads.
func fourPatterns() (minfc.Spec, error) {
	library, err := plan.Library()
	layer := plan.Layer{}
	for i, name := range []string{"dense", "a_shape", "vertical_slash", "block_sparse"} {
		layer[i] = plan.Head{Pattern: library[name]}
	}
	return minfc.Spec{Plan: &plan.Plan{Layers: []plan.Layer{layer}}}, err
}

var fourHeads = minfc.Heads{Q: 4, KV: 1, Dim: 128, DType: "bf16"}

// hopper is a device like an H200 that takes modules and does nothing with them.
type hopper struct {
	*devicetest.Fake
	mu      sync.Mutex
	modules []string // hashes of their PTX
}

func newHopper() *hopper {
	fake := devicetest.New()
	fake.Is.Name, fake.Is.Major, fake.Is.MaxSharedBytes, fake.Entry.MaxThreads = "a fake H200", 9, 227<<10, 1024
	return &hopper{Fake: fake}
}

func (*hopper) EncodeTensorMap(m device.TensorMap) ([]byte, error) { return emu.EncodeTensorMap(m) }

func (h *hopper) LoadModule(ptx []byte) (device.Module, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.modules = append(h.modules, fmt.Sprintf("%x", sha256.Sum256(ptx)))
	return h.Fake.LoadModule(ptx)
}

// loaded says which modules the device has.
func (h *hopper) loaded() string {
	slices.Sort(h.modules)
	return fmt.Sprintf("%d modules %x", len(h.modules), sha256.Sum256([]byte(strings.Join(h.modules, ""))))
}

// gpuOrNone is the first GPU, or one like an H200 that does nothing.
func gpuOrNone() (device.Device, error) {
	dev, err := device.Open("cuda", 0)
	if errors.Is(err, device.ErrNoDevice) {
		return newHopper(), nil
	}
	return dev, err
}

// useCache gives a test a cache of its own, and says what is in it.
func useCache(t *testing.T) (files func() []string) {
	dir := t.TempDir()
	t.Setenv("MINFC_CACHE", dir)
	return func() []string {
		found, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, err)
		return found
	}
}

// attention says which modules NewAttention loads.
func attention(t *testing.T, spec minfc.Spec, heads minfc.Heads) string {
	t.Helper()
	dev := newHopper()
	a, err := minfc.NewAttention(dev, spec, heads)
	require.NoError(t, err)
	require.NoError(t, a.Close())
	return dev.loaded()
}

var near = minfc.Spec{Source: "pattern near(n = 9, const first = 1) { keep causal & (window(n) | sink(first)) }"}

// What was compiled is found again, is the same, and is compiled again where it was damaged.
func TestAttentionIsCompiledOnce(t *testing.T) {
	four, err := fourPatterns()
	require.NoError(t, err)
	for name, spec := range map[string]minfc.Spec{"source": near, "plan": four} {
		want := attention(t, spec, fourHeads)
		files := useCache(t)
		require.Equal(t, want, attention(t, spec, fourHeads), name)
		require.Len(t, files(), 1)
		file := files()[0]
		when := time.Now().Add(-time.Minute) // of what is not written again
		require.NoError(t, os.Chtimes(file, when, when))
		require.Equal(t, want, attention(t, spec, fourHeads), name)
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.True(t, info.ModTime().Equal(when), "%s was compiled again", name)

		whole, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, whole[:len(whole)/2], 0o600))
		require.Equal(t, want, attention(t, spec, fourHeads), name)
		again, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, whole, again)
		t.Setenv("MINFC_CACHE", "off")
	}
}

// All that code depends on makes another artifact, and what belongs to a call does not.
func TestWhatArtifactsDependOn(t *testing.T) {
	files := useCache(t)
	with := func(params map[string]int64) minfc.Spec { return minfc.Spec{Source: near.Source, Params: params} }
	heads := minfc.Heads{Q: 2, KV: 1, Dim: 64, DType: "bf16"}
	attention(t, near, heads)
	attention(t, with(map[string]int64{"n": 20}), heads)
	attention(t, near, minfc.Heads{Q: 8, KV: 2, Dim: 64, DType: "bf16"})
	require.Len(t, files(), 1)
	attention(t, with(map[string]int64{"first": 2}), heads)
	require.Len(t, files(), 2)
	attention(t, near, minfc.Heads{Q: 2, KV: 1, Dim: 32, DType: "bf16"})
	require.Len(t, files(), 3)
	attention(t, near, minfc.Heads{Q: 2, KV: 1, Dim: 64, DType: "f16"})
	require.Len(t, files(), 4)
	attention(t, minfc.Spec{Source: strings.Replace(near.Source, "n = 9", "n = 8", 1)}, heads)
	require.Len(t, files(), 5)
	_, err := minfc.NewAttention(ampere{newHopper().Fake}, near, heads)
	require.NoError(t, err)
	require.Len(t, files(), 6)
	defer func(own func() string) { cache.BuildID = own }(cache.BuildID)
	cache.BuildID = func() string { return "" } // a program that does not know which it is keeps nothing
	attention(t, near, minfc.Heads{Q: 2, KV: 1, Dim: 16, DType: "bf16"})
	require.Len(t, files(), 6)
	cache.BuildID = func() string { return "another" }
	attention(t, near, heads)
	require.Len(t, files(), 7)
}

// ampere is hopper without tensor maps.
type ampere struct{ *devicetest.Fake }

func (a ampere) Info() device.Info {
	i := a.Fake.Info()
	i.Major = 8
	return i
}

// Errors are the same with a cache, and are not kept.
func TestErrorsAreNotKept(t *testing.T) {
	files := useCache(t)
	for range 2 {
		_, err := minfc.NewAttention(newHopper(), minfc.Spec{Source: near.Source, Params: map[string]int64{"first": -1}}, fourHeads)
		require.ErrorContains(t, err, "first")
	}
	require.Empty(t, files())
}

// Programs that start at once on an empty cache wait for nobody, load the same, and leave one file.
func TestProcessesThatStartAtOnce(t *testing.T) {
	files := useCache(t)
	var waits []func() (float64, string, error)
	for range 8 {
		waits = append(waits, startProcess("a_shape"))
	}
	want := attention(t, minfc.Spec{Pattern: "a_shape"}, fourHeads)
	for _, wait := range waits {
		_, loaded, err := wait()
		require.NoError(t, err)
		require.Equal(t, want, loaded)
	}
	require.LessOrEqual(t, len(files()), 2, "one is of this process, if it was asked after it was built again: %v", files())
}

// So do goroutines, each with a device of its own, and one of them compiles.
func TestGoroutinesThatStartAtOnce(t *testing.T) {
	want := attention(t, near, fourHeads)
	files := useCache(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			dev := newHopper()
			if _, err := minfc.NewAttention(dev, near, fourHeads); err != nil || dev.loaded() != want {
				t.Errorf("%v: %s", err, dev.loaded())
			}
		})
	}
	all.Wait()
	require.Len(t, files(), 1)
}

// BenchmarkWarmStart is what a program waits for its attention, a plan of four patterns, when another one has started before: the code is in
// the cache. cold-ms is the first start, with an empty cache, process-ms the start in a new process. CUDA_CACHE_DISABLE=1 leaves the driver's
// own cache out: go test . -run '^$' -bench WarmStart -benchtime 10x
func BenchmarkWarmStart(b *testing.B) {
	b.Setenv("MINFC_CACHE", b.TempDir())
	dev, err := gpuOrNone()
	require.NoError(b, err)
	defer dev.Close()
	spec, err := fourPatterns()
	require.NoError(b, err)
	start := func() time.Duration {
		begin := time.Now()
		a, err := minfc.NewAttention(dev, spec, fourHeads)
		took := time.Since(begin)
		require.NoError(b, err)
		require.NoError(b, a.Close())
		return took
	}
	cold := start()
	for b.Loop() {
		start()
	}
	process, _, err := startProcess("")()
	require.NoError(b, err)
	b.ReportMetric(float64(cold.Microseconds())/1e3, "cold-ms")
	b.ReportMetric(process/1e3, "process-ms")
	b.Logf("on %s", dev.Info().Name)
}
