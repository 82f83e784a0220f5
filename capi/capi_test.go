//go:build cgo && linux && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/cuda"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// prepared is a call of 32 heads on a device that only notes what it is asked for.
func prepared(t *testing.T, dev device.Device, spec string) (handle, pointers) {
	d, err := newDevice(dev, "")
	require.NoError(t, err)
	a, err := newAttention(d, spec, heads{32, 8, 128, 1})
	require.NoError(t, err)
	c, workspace, err := prepare(a, shape{Shape: minfc.Shape{Batch: 1, SeqQ: 4096, SeqK: 4096, NoFallback: true}})
	require.NoError(t, err)
	const gb = 1 << 30
	return c, pointers{Q: gb, K: 2 * gb, V: 3 * gb, O: 4 * gb, LSE: 5 * gb, Workspace: 6 * gb, WorkspaceBytes: workspace}
}

func TestRunAllocatesNothing(t *testing.T) {
	for _, spec := range []string{`{"pattern": "a_shape"}`, `{"pattern": "vertical_slash"}`} {
		dev := devicetest.New()
		dev.Blind = true
		c, at := prepared(t, dev, spec)
		for _, stream := range []uintptr{0, 0x7f00} {
			require.Zero(t, testing.AllocsPerRun(100, func() {
				if err := guard(func() error { return run(c, at, stream) }); err != nil {
					t.Error(err)
				}
			}), "%s, stream %#x", spec, stream)
		}
	}
}

// TestConcurrentClose: who runs, prepares or closes what another thread closes gets an error, or was in time.
func TestConcurrentClose(t *testing.T) {
	dev := devicetest.New()
	dev.Blind = true
	d, err := newDevice(dev, "")
	require.NoError(t, err)
	a, err := newAttention(d, `{"pattern": "a_shape"}`, heads{2, 1, 64, 1})
	require.NoError(t, err)
	const gb = 1 << 30
	at := pointers{Q: gb, K: 2 * gb, V: 3 * gb, O: 4 * gb}
	var threads sync.WaitGroup
	var closed atomic.Int32
	shared, _, err := prepare(a, shape{Shape: minfc.Shape{Batch: 1, SeqQ: 1, SeqK: 1}})
	require.NoError(t, err)
	for i := range 8 {
		threads.Go(func() {
			for range 50 {
				own, _, err := prepare(a, shape{Shape: minfc.Shape{Batch: 1, SeqQ: i + 1, SeqK: i + 1}})
				if err == nil {
					err = errors.Join(run(own, at, uintptr(16*i)), closeCall(own))
				}
				if err != nil && !errors.Is(err, device.ErrClosed) {
					t.Error(err)
				}
				if err := run(shared, at, 0); err != nil && !errors.Is(err, device.ErrClosed) {
					t.Error(err)
				}
			}
			if closeCall(shared) == nil {
				closed.Add(1)
			}
			for codeOf(closeAttention(a)) == codeArgument { // another thread's call is open
				goruntime.Gosched()
			}
		})
	}
	threads.Wait()
	require.EqualValues(t, 1, closed.Load(), "a call is closed once")
	require.NoError(t, closeDevice(d))
}

func TestPanicIsAnError(t *testing.T) {
	dev := devicetest.New()
	dev.OnLaunch = func(devicetest.Launched) { panic("oh no") }
	c, at := prepared(t, dev, `{"pattern": "a_shape"}`)
	err := guard(func() error { return run(c, at, 0) })
	require.Equal(t, codeInternal, codeOf(err))
	require.ErrorContains(t, err, "oh no")
}

// TestCodesAreThoseOfTheHeader: enum minfc_code and the codes of Go have the same numbers.
func TestCodesAreThoseOfTheHeader(t *testing.T) {
	text, err := os.ReadFile("minfc.h")
	require.NoError(t, err)
	got, stages := map[string]code{}, map[string]runtime.Stages{}
	for _, m := range regexp.MustCompile(`(?m)^  MINFC_(STAGE_)?(?:E_)?([A-Z_]+) = (\d+)`).FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.Atoi(m[3])
		require.NoError(t, err)
		if m[1] != "" {
			stages[m[2]] = runtime.Stages(n)
		} else {
			got[m[2]] = code(n)
		}
	}
	require.Equal(t, map[string]runtime.Stages{"POOL": runtime.StagePool, "CHOOSE": runtime.StageChoose, "GATHER": runtime.StageGather,
		"ATTEND": runtime.StageAttend}, stages)
	require.Equal(t, map[string]code{"OK": codeOK, "ARGUMENT": codeArgument, "PATTERN": codePattern, "NO_DEVICE": codeNoDevice,
		"DEVICE": codeDevice, "MEMORY": codeMemory, "UNSUPPORTED": codeUnsupported, "VERSION": codeVersion, "CLOSED": codeClosed,
		"FORK": codeFork, "INTERNAL": codeInternal}, got)
}

func TestCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code code
	}{
		{nil, codeOK},
		{device.BadCall("x"), codeArgument},
		{specError{errors.New("there is no such pattern")}, codePattern},
		{specError{device.BadCall("x")}, codeArgument},
		{specError{&cuda.Error{Code: 999}}, codeDevice},
		{fmt.Errorf("attention: %w", device.ErrOutOfMemory), codeMemory},
		{errors.New("attention: internal: x"), codeInternal},
		{&cuda.Error{Code: 700}, codeDevice},
	} {
		require.Equal(t, c.code, codeOf(c.err), "%v", c.err)
	}
}

// TestCut: a text that is cut ends with a whole character, and no text ends early.
func TestCut(t *testing.T) {
	require.Equal(t, "abc", cut("abc", 3))
	require.Equal(t, "ab", cut("abc", 2))
	require.Equal(t, "a", cut("aé", 2))
	require.Equal(t, "a b", cut("a\x00b", 9))
	require.Empty(t, cut("é", 1))
	require.Len(t, cut(strings.Repeat("é", 600), 1019), 1018)
}

// TestHandles: an index is used again, a handle is not; and every number that is no handle is told.
func TestHandles(t *testing.T) {
	x := table[int]{kind: kindCall}
	seen := map[handle]bool{}
	for i := range 100 {
		a, err := x.put(&i)
		require.NoError(t, err)
		b, err := x.put(&i)
		require.NoError(t, err)
		require.False(t, seen[a] || seen[b])
		seen[a], seen[b] = true, true
		got, err := x.get(b)
		require.NoError(t, err)
		require.Equal(t, i, *got)
		require.NoError(t, x.remove(a))
		require.NoError(t, x.remove(b))
		require.ErrorIs(t, x.remove(b), device.ErrClosed)
	}
	require.Len(t, x.slots, 2)
	for h := range seen {
		_, err := x.get(h)
		require.ErrorIs(t, err, device.ErrClosed)
		for bit := range 64 {
			_, err := x.get(h ^ 1<<bit)
			require.Error(t, err)
		}
	}
}
