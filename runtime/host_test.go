package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/artifact/artifacttest"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// runHost loads an artifact, runs a call and closes it.
func runHost(dev device.Device, h HostCall) (res HostResult, err error) {
	l, err := Load(dev, artifacttest.New(), artifact.Select{DType: "bf16"})
	if err != nil {
		return HostResult{}, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return l.RunHost(context.Background(), h)
}

func hostCall() HostCall {
	h := HostCall{Shape: Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 5, SeqK: 7}}
	h.Q = make([]byte, 2*5*64*2)
	h.K, h.V = make([]byte, 7*64*2), make([]byte, 7*64*2)
	for i := range h.Q {
		h.Q[i] = byte(i)
	}
	return h
}

// echo is a kernel that writes Q to O and 0, 1, 2... to LSE.
func echo(t *testing.T, dev *devicetest.Fake) func(devicetest.Launched) {
	params := artifacttest.Attend(artifacttest.New()).Params
	return func(l devicetest.Launched) {
		q, o, lse := device.Ptr(l.Arg(t, params, "q")), device.Ptr(l.Arg(t, params, "o")), device.Ptr(l.Arg(t, params, "lse"))
		copy(dev.Memory[o], dev.Memory[q])
		for i := range len(dev.Memory[lse]) / 4 {
			binary.LittleEndian.PutUint32(dev.Memory[lse][4*i:], math.Float32bits(float32(i)))
		}
	}
}

func TestRunHost(t *testing.T) {
	dev := devicetest.New()
	dev.OnLaunch = echo(t, dev)
	res, err := runHost(dev, hostCall())
	require.NoError(t, err)
	require.Equal(t, hostCall().Q, res.O)
	require.Equal(t, []float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, res.LSE)
	require.Equal(t, 1.5, res.Milliseconds)
	require.Empty(t, dev.Memory)
	require.Zero(t, dev.Live)

	h := hostCall()
	h.NoLSE = true
	res, err = runHost(dev, h)
	require.NoError(t, err)
	require.Nil(t, res.LSE)
	require.Zero(t, dev.Launches[1].Arg(t, artifacttest.Attend(artifacttest.New()).Params, "lse"))
}

// Whichever call of the device fails, the error comes out and everything is given back.
func TestRunHostGivesEverythingBack(t *testing.T) {
	for failAt := 1; ; failAt++ {
		dev := devicetest.New()
		dev.FailAt = failAt
		res, err := runHost(dev, hostCall())
		require.Empty(t, dev.Memory, "call %d", failAt)
		require.Zero(t, dev.Live, "call %d", failAt)
		if err == nil {
			require.Greater(t, failAt, 15, "every call was made to fail once")
			return
		}
		require.ErrorIs(t, err, devicetest.ErrInjected)
		require.Nil(t, res.O)
	}
}

// A context that has ended ends a run, and everything is given back.
func TestRunHostEndsWithItsContext(t *testing.T) {
	dev, l := loaded(t)
	ended, cancel := context.WithCancel(t.Context())
	dev.OnLaunch = func(devicetest.Launched) { cancel() }
	_, err := l.RunHost(ended, hostCall())
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, dev.Launches, 1)
	require.Empty(t, dev.Memory)
}

func TestRunHostChecksBeforeItCopies(t *testing.T) {
	for says, damage := range map[string]func(h *HostCall){
		"K has 895 bytes, want 896 for [1, 1, 7, 64] of bf16": func(h *HostCall) { h.K = h.K[1:] },
		"Q has 0 bytes, want 1280":                            func(h *HostCall) { h.Q = nil },
		"QHeads is 2 and KVHeads 3":                           func(h *HostCall) { h.KVHeads = 3 },
		"window must be at least 1":                           func(h *HostCall) { h.Parts = []Part{{Params: map[string]int64{"window": -3}}} },
	} {
		dev, k := loaded(t)
		h := hostCall()
		damage(&h)
		before := dev.Calls
		_, err := k.RunHost(t.Context(), h)
		require.ErrorIs(t, err, device.ErrBadCall, says)
		require.ErrorContains(t, err, says)
		require.Equal(t, before, dev.Calls, says)
	}
}

func TestProductStopsAtTheLargestNumber(t *testing.T) {
	require.Equal(t, int64(65535)<<30*256, product(65535, 1<<30, 256))
	require.Equal(t, int64(math.MaxInt64), product(65535, 65535, 1<<30, 256, 2))
	require.Equal(t, int64(math.MaxInt64), product(1<<62, 2))
	require.Zero(t, product(0, 1<<62, 5))
}

func TestRunHostWithoutRows(t *testing.T) {
	dev, k := loaded(t)
	h := hostCall()
	h.SeqQ, h.Q = 0, nil
	res, err := k.RunHost(t.Context(), h)
	require.NoError(t, err)
	require.Empty(t, res.O)
	require.Empty(t, res.LSE)
	require.Empty(t, dev.Launches)
	h = hostCall()
	h.SeqK, h.K, h.V = 0, nil, nil
	_, err = k.RunHost(t.Context(), h)
	require.NoError(t, err)
	require.Len(t, dev.Launches, 1)
}
