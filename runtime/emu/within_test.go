package emu_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

const endless = `.version 7.4
.target sm_80
.address_size 64
.visible .entry endless()
{
again:
	bra again;
}
`

// A launch on a stream with a context ends when the context does, and no other launch is touched by it.
func TestLaunchesEndWithTheirContext(t *testing.T) {
	dev, err := emu.Open(emu.Options{Budget: 1 << 50})
	require.NoError(t, err)
	defer dev.Close()
	m, err := dev.LoadModule([]byte(endless))
	require.NoError(t, err)
	f, err := m.Function("endless")
	require.NoError(t, err)
	one := device.Launch{Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{1, 1, 1}}
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	other := device.StreamWithin(context.Background(), dev)
	require.ErrorIs(t, f.Launch(one, nil, device.StreamWithin(short, dev)), context.DeadlineExceeded)
	require.NoError(t, other.Synchronize())

	done, stop := context.WithCancel(context.Background())
	stop()
	require.ErrorIs(t, f.Launch(one, nil, device.StreamWithin(done, dev)), context.Canceled, "before it begins")
}
