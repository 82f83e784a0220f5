package runtime_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// loadProgram loads a program on a device that only notes what it is asked for.
func loadProgram(t *testing.T, p *compile.Program) *runtime.Loaded {
	t.Helper()
	art, err := p.Compile(compile.Options{Target: "sm_80", DType: abi.BF16, HeadDim: 64}, nil)
	require.NoError(t, err)
	dev := devicetest.New()
	dev.Blind = true
	l, err := runtime.Load(dev, art, artifact.Select{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

// TestGivenListsAreChecked: what can be known of the caller's lists without reading them is known before anything is launched.
func TestGivenListsAreChecked(t *testing.T) {
	l := loadProgram(t, compile.Given(true))
	shape := runtime.Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 130, SeqK: 200, QOffset: 70, SpanCap: 5, KeyCap: 9}
	refused := func(text string, change func(s *runtime.Shape), parts ...runtime.Part) {
		t.Helper()
		bad := shape
		change(&bad)
		_, err := l.Prepare(bad, parts...)
		require.ErrorIs(t, err, device.ErrBadCall)
		require.ErrorContains(t, err, text)
	}
	refused("SpanCap is -1 and KeyCap 9, want 0 to 1073741824", func(s *runtime.Shape) { s.SpanCap = -1 })
	refused("SpanCap is 5 and KeyCap 2147483647", func(s *runtime.Shape) { s.KeyCap = 1<<31 - 1 })
	refused("row blocks in all heads", func(s *runtime.Shape) { s.Batch, s.SeqQ, s.QOffset, s.QHeads = 1<<15, 1<<20, 0, 16 })
	refused("for all heads of a call", func(s *runtime.Shape) {}, runtime.Part{Heads: []int{0, 1}})

	call, err := l.Prepare(shape)
	require.NoError(t, err)
	const mb = 1 << 20
	good := runtime.Pointers{Q: mb, K: 2 * mb, V: 3 * mb, O: 4 * mb, Workspace: 5 * mb, WorkspaceBytes: call.Workspace(),
		Spans: 6 * mb, SpanCount: 7 * mb, Keys: 8 * mb, KeyCount: 9 * mb}
	require.NoError(t, call.Check(good))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if err := call.Run(nil, good); err != nil {
			t.Error(err)
		}
	}), "a run allocates")
	for text, change := range map[string]func(p *runtime.Pointers){
		"SpanCount is a null pointer, want how many entries of Spans each of the 3 row blocks": func(p *runtime.Pointers) { p.SpanCount = 0 },
		"KeyCount is a null pointer":                  func(p *runtime.Pointers) { p.KeyCount = 0 },
		"Spans is a null pointer, want 5 entries":     func(p *runtime.Pointers) { p.Spans = 0 },
		"Keys is a null pointer, want 9 entries":      func(p *runtime.Pointers) { p.Keys = 0 },
		"KeyCount starts at 0x900002 and Keys at":     func(p *runtime.Pointers) { p.KeyCount += 2 },
		"O overlaps Spans":                            func(p *runtime.Pointers) { p.Spans = p.O + 16 },
		"Workspace overlaps KeyCount":                 func(p *runtime.Pointers) { p.KeyCount = p.Workspace },
		"is set, and Lengths of the shape is InShape": func(p *runtime.Pointers) { p.LengthsQ = mb },
	} {
		bad := good
		change(&bad)
		err := call.Run(nil, bad)
		require.ErrorIs(t, err, device.ErrBadCall, text)
		require.ErrorContains(t, err, text)
	}
	_, err = call.Cover(0, nil, nil)
	require.ErrorIs(t, err, device.ErrBadCall)
	require.ErrorContains(t, err, "the caller gives the lists of the pattern")
	empty := shape
	empty.SpanCap = 0
	call, err = l.Prepare(empty)
	require.NoError(t, err)
	good.Spans = 0
	require.NoError(t, call.Check(good), "no entries need no memory")
}

// TestOthersTakeNoGivenLists: a call that brings lists which its pattern does not read has meant another pattern.
func TestOthersTakeNoGivenLists(t *testing.T) {
	dense, err := compile.LoadLibrary("dense")
	require.NoError(t, err)
	l := loadProgram(t, dense)
	shape := runtime.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 64, SeqK: 64}
	call, err := l.Prepare(shape)
	require.NoError(t, err)
	const mb = 1 << 20
	err = call.Check(runtime.Pointers{Q: mb, K: 2 * mb, V: 3 * mb, O: 4 * mb, KeyCount: 5 * mb})
	require.ErrorIs(t, err, device.ErrBadCall)
	require.ErrorContains(t, err, "Keys or KeyCount is set, and the pattern reads no lists that the caller gives")
	shape.KeyCap = 3
	_, err = l.Prepare(shape)
	require.ErrorIs(t, err, device.ErrBadCall)
	require.ErrorContains(t, err, "SpanCap is 0 and KeyCap 3, want 0: the pattern reads no lists")
}
