package runtime

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/artifact/artifacttest"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// mapDevice is a fake device with TMA; it remembers what it encoded, and an encoded map begins with its number.
type mapDevice struct {
	*devicetest.Fake
	maps []device.TensorMap
}

func (d *mapDevice) EncodeTensorMap(m device.TensorMap) ([]byte, error) {
	d.maps = append(d.maps, m)
	return append([]byte{byte(len(d.maps))}, make([]byte, device.TensorMapBytes-1)...), d.Step()
}

func loadedWithMaps(t *testing.T) (*mapDevice, *Loaded) {
	art, dev := artifacttest.New(), &mapDevice{Fake: devicetest.New()}
	info := artifacttest.Attend(art)
	info.Params = artifacttest.WithMaps(info.Params, "q", "k", "v", "o")
	k, err := Load(dev, art, artifact.Select{DType: "bf16"})
	require.NoError(t, err)
	return dev, k
}

func TestMapsShowTheTensorsOfTheCall(t *testing.T) {
	box := []uint32{64, 128, 1, 1}
	for name, c := range map[string]struct {
		change func(a *Call)
		want   [4]device.TensorMap // of q, k, v, o
	}{
		"grouped heads": {func(*Call) {}, [4]device.TensorMap{
			{Base: 0x10_0000_0000, Dims: []uint64{64, 300, 6, 2}, Strides: []uint64{128, 128 * 300, 128 * 300 * 6}},
			{Base: 0x20_0000_0000, Dims: []uint64{64, 400, 2, 2}, Strides: []uint64{128, 128 * 400, 128 * 400 * 2}},
			{Base: 0x30_0000_0000, Dims: []uint64{64, 400, 2, 2}, Strides: []uint64{128, 128 * 400, 128 * 400 * 2}},
			{Base: 0x40_0000_0000, Dims: []uint64{64, 300, 6, 2}, Strides: []uint64{128, 128 * 300, 128 * 300 * 6}},
		}},
		"packed queries, one batch of keys for all, one row, any stride of what is one": {func(a *Call) {
			a.SeqQ, a.KVHeads = 1, 1
			a.Strides = Strides{Q: Stride{18 * 64, 64, -3}, O: Stride{6 * 64, 64, 1}, K: Stride{0, 7, 640}, V: Stride{1 << 30, 0, 64}}
		}, [4]device.TensorMap{
			{Base: 0x10_0000_0000, Dims: []uint64{64, 1, 6, 2}, Strides: []uint64{128, 128, 18 * 128}},
			{Base: 0x20_0000_0000, Dims: []uint64{64, 400, 1, 2}, Strides: []uint64{1280, 128, 0}},
			{Base: 0x30_0000_0000, Dims: []uint64{64, 400, 1, 2}, Strides: []uint64{128, 128, 1 << 31}},
			{Base: 0x40_0000_0000, Dims: []uint64{64, 1, 6, 2}, Strides: []uint64{128, 128, 6 * 128}},
		}},
		"no keys": {func(a *Call) { a.SeqK, a.K, a.V = 0, 0, 0 }, [4]device.TensorMap{
			{Base: 0x10_0000_0000, Dims: []uint64{64, 300, 6, 2}, Strides: []uint64{128, 128 * 300, 128 * 300 * 6}},
			{Base: 0x10_0000_0000, Dims: []uint64{64, 1, 2, 2}, Strides: []uint64{128, 128 * 300, 128 * 300 * 6}},
			{Base: 0x10_0000_0000, Dims: []uint64{64, 1, 2, 2}, Strides: []uint64{128, 128 * 300, 128 * 300 * 6}},
			{Base: 0x40_0000_0000, Dims: []uint64{64, 300, 6, 2}, Strides: []uint64{128, 128 * 300, 128 * 300 * 6}},
		}},
	} {
		dev, k := loadedWithMaps(t)
		a := contiguous()
		c.change(&a)
		require.NoError(t, k.Launch(nil, a), name)
		require.Len(t, dev.maps, 4)
		for i, want := range c.want {
			want.DType, want.Box, want.Swizzle = "bf16", box, 128
			require.Equal(t, want, dev.maps[i], "%s: %s", name, k.Attend().Params[i].Tensor)
			require.Len(t, dev.Launches[0].Args[i], device.TensorMapBytes)
			require.EqualValues(t, i+1, dev.Launches[0].Args[i][0], "the argument is what the device encoded")
		}
		require.EqualValues(t, a.SeqQ, dev.Launches[0].Arg(t, k.Attend().Params, "sq"), "numbers keep their places")
	}
}

// Maps of the copies of K and V at chosen columns show the workspace, where the copies are written.
func TestMapsOfCompactedCopies(t *testing.T) {
	art, dev := artifactOf(t, verticalSlash, "", 0), &mapDevice{Fake: devicetest.New()}
	info := artifacttest.Attend(art)
	info.Params = append(slices.DeleteFunc(info.Params, func(p artifact.Param) bool { return p.Name == "i_cols_kc" || p.Name == "i_cols_vc" }),
		abi.MapParam("kc_map", "i_cols_kc", 64, 64), abi.MapParam("vc_map", "i_cols_vc", 64, 64))
	k, err := Load(dev, art, artifact.Select{})
	require.NoError(t, err)
	a := contiguous() // of 400 keys, fewer than the budget: room for 7 blocks of columns and one more
	a.Workspace = 0x100000
	a.WorkspaceBytes, err = k.Workspace(a)
	require.NoError(t, err)
	require.NoError(t, k.Launch(nil, a))
	require.Len(t, dev.maps, 2)
	written := find(t, dev.Fake, "compact")
	for i, name := range []string{"kc", "vc"} {
		const rows = 512
		at := device.Ptr(written.Arg(t, abi.IndexParams[abi.Compact], name))
		require.Equal(t, device.TensorMap{DType: "bf16", Base: at, Dims: []uint64{128, rows, 12, 1},
			Strides: []uint64{256, 256 * rows, 256}, Box: []uint32{64, 64, 1, 1}, Swizzle: 128}, dev.maps[i])
		require.GreaterOrEqual(t, at, a.Workspace)
		require.LessOrEqual(t, at+rows*12*256, a.Workspace+device.Ptr(a.WorkspaceBytes))
	}
}

// Maps are encoded once for a place that a tensor lies in, and again when it lies elsewhere.
func TestMapsFollowTheirTensors(t *testing.T) {
	dev, k := loadedWithMaps(t)
	a := contiguous()
	shown := func(n int) device.TensorMap { return dev.maps[dev.Launches[n].Args[1][0]-1] } // of k
	require.NoError(t, k.Launch(nil, a))
	a.K += 0x1000
	require.NoError(t, k.Launch(nil, a))
	a.K -= 0x1000
	require.NoError(t, k.Launch(nil, a))
	require.Len(t, dev.maps, 5)
	for n, want := range []device.Ptr{0x20_0000_0000, 0x20_0000_1000, 0x20_0000_0000} {
		require.Equal(t, want, shown(n).Base, "launch %d", n)
	}
}

func TestBadMapsAreRefused(t *testing.T) {
	with := func(damage func(p []artifact.Param)) error {
		a := artifacttest.New()
		p := artifacttest.WithMaps(artifacttest.Attend(a).Params, "q", "k", "v", "o")
		p = append(p, abi.MapParam("q_too", "q", 64, 64))
		damage(p)
		artifacttest.Attend(a).Params = p
		return a.Verify()
	}
	require.NoError(t, with(func([]artifact.Param) {}))
	for says, damage := range map[string]func(p []artifact.Param){
		"attend maps x, which is neither a tensor nor a buffer":                func(p []artifact.Param) { p[0].Tensor = "x" },
		`attend maps i_cols_kc, which is neither a tensor nor a buffer`:        func(p []artifact.Param) { p[len(p)-1].Tensor = "i_cols_kc" },
		`"v_map": columns of its box is 72, want a multiple of 8 from 8 to 64`: func(p []artifact.Param) { p[2].Box[0] = 72 },
		`"v_map": rows of its box is 257, want 1 to 256`:                       func(p []artifact.Param) { p[2].Box[1] = 257 },
		`"k_map" is listed twice`:                                              func(p []artifact.Param) { p[0].Name = "k_map" },
		`parameters are missing: k, k_batch, k_head, k_row`:                    func(p []artifact.Param) { p[1].Tensor = "q" },
		`"lse": columns of its box is 0`:                                       func(p []artifact.Param) { p[4].Type = "map" },
		`"lse" has type "map", want ptr`:                                       func(p []artifact.Param) { p[4] = abi.MapParam("lse", "q", 64, 64) },
	} {
		err := with(damage)
		require.ErrorIs(t, err, artifact.ErrManifest)
		require.ErrorContains(t, err, says)
	}
}

// Several maps of one tensor, and its address beside them, are a kernel's own choice.
func TestMapsMayBeManyAndPointersStay(t *testing.T) {
	a := artifacttest.New()
	k := artifacttest.Attend(a)
	for i, rows := range []int{64, 256} {
		k.Params = append(k.Params, abi.MapParam(fmt.Sprint("k_map", i), "k", 16, rows))
	}
	require.NoError(t, a.Verify())
}

func TestMapsNeedADeviceThatMakesThem(t *testing.T) {
	art := artifacttest.New()
	artifacttest.Attend(art).Params = artifacttest.WithMaps(artifacttest.Attend(art).Params, "k")
	_, err := Load(devicetest.New(), art, artifact.Select{DType: "bf16"})
	require.ErrorIs(t, err, artifact.ErrTarget)
	require.ErrorIs(t, err, device.ErrUnsupported)
	require.ErrorContains(t, err, "tensor maps, which the driver fake cannot make")
}

func TestMapErrorsStopTheLaunch(t *testing.T) {
	dev, k := loadedWithMaps(t)
	dev.FailAt = dev.Calls + 2
	err := k.Launch(nil, contiguous())
	require.ErrorIs(t, err, devicetest.ErrInjected)
	require.ErrorContains(t, err, "tensor map of k")
	require.Empty(t, dev.Launches)
}
