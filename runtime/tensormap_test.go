package runtime

import (
	"slices"
	"strings"
	"testing"

	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/artifact/artifacttest"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
	"github.com/stretchr/testify/require"
)

// mapDevice is a fake device with TMA; it remembers what it encoded, and an encoded map begins with its number.
type mapDevice struct {
	*devicetest.Fake
	maps []device.TensorMap
}

func (d *mapDevice) EncodeTensorMap(m device.TensorMap) ([]byte, error) {
	d.maps = append(d.maps, m)
	return append([]byte{byte(len(d.maps))}, make([]byte, device.TensorMapBytes-1)...), d.step()
}

// withMaps replaces numbers by a map of each tensor, as kernels for sm_90a have them.
func withMaps(params []artifact.Param, tensors ...string) []artifact.Param {
	var out []artifact.Param
	for _, t := range tensors {
		out = append(out, artifact.Param{Name: t + "_map", Type: "map", Tensor: t, Box: [2]int{64, 128}})
	}
	return append(out, slices.DeleteFunc(slices.Clone(params), func(p artifact.Param) bool {
		t, what, _ := strings.Cut(p.Name, "_")
		return slices.Contains(tensors, t) && what != "offset"
	})...)
}

func loadedWithMaps(t *testing.T) (*mapDevice, *LoadedKernel) {
	art, dev := artifacttest.New(), &mapDevice{devicetest.Fake: devicetest.New()}
	art.Manifest.Kernels = art.Manifest.Kernels[:1]
	info := &art.Manifest.Kernels[0]
	info.Params = withMaps(info.Params, "q", "k", "v", "o")
	k, err := LoadKernel(dev, art, artifact.Select{})
	require.NoError(t, err)
	return dev, k
}

func TestMapsShowTheTensorsOfTheCall(t *testing.T) {
	box := []uint32{64, 128, 1, 1}
	for name, c := range map[string]struct {
		change func(a *Attention)
		want   [4]device.TensorMap // of q, k, v, o
	}{
		"grouped heads": {func(*Attention) {}, [4]device.TensorMap{
			{Base: 0x10_0000_0000, Dims: []uint64{64, 300, 6, 2}, Strides: []uint64{128, 128 * 300, 128 * 300 * 6}},
			{Base: 0x20_0000_0000, Dims: []uint64{64, 400, 2, 2}, Strides: []uint64{128, 128 * 400, 128 * 400 * 2}},
			{Base: 0x30_0000_0000, Dims: []uint64{64, 400, 2, 2}, Strides: []uint64{128, 128 * 400, 128 * 400 * 2}},
			{Base: 0x40_0000_0000, Dims: []uint64{64, 300, 6, 2}, Strides: []uint64{128, 128 * 300, 128 * 300 * 6}},
		}},
		"packed queries, one batch of keys for all, one row, any stride of what is one": {func(a *Attention) {
			a.SeqQ, a.KVHeads = 1, 1
			a.Q, a.O = Tensor{0x10_0000_0000, 18 * 64, 64, -3}, Tensor{0x40_0000_0000, 6 * 64, 64, 1}
			a.K, a.V = Tensor{0x20_0000_0000, 0, 7, 640}, Tensor{0x30_0000_0000, 1 << 30, 0, 64}
		}, [4]device.TensorMap{
			{Base: 0x10_0000_0000, Dims: []uint64{64, 1, 6, 2}, Strides: []uint64{128, 128, 18 * 128}},
			{Base: 0x20_0000_0000, Dims: []uint64{64, 400, 1, 2}, Strides: []uint64{1280, 128, 0}},
			{Base: 0x30_0000_0000, Dims: []uint64{64, 400, 1, 2}, Strides: []uint64{128, 128, 1 << 31}},
			{Base: 0x40_0000_0000, Dims: []uint64{64, 1, 6, 2}, Strides: []uint64{128, 128, 6 * 128}},
		}},
		"no keys": {func(a *Attention) { a.SeqK, a.K, a.V = 0, Tensor{}, Tensor{} }, [4]device.TensorMap{
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
			require.Equal(t, want, dev.maps[i], "%s: %s", name, k.params[i].Tensor)
			require.Len(t, dev.Launches[0].Args[i], device.TensorMapBytes)
			require.EqualValues(t, i+1, dev.Launches[0].Args[i][0], "the argument is what the device encoded")
		}
		require.EqualValues(t, a.SeqQ, dev.Launches[0].Arg(t, k.Info().Params, "sq"), "numbers keep their places")
	}
}

// Maps of the copies of K and V at chosen columns show the workspace.
func TestMapsOfCompactedCopies(t *testing.T) {
	k := dynamicKernel(t, verticalSlash)
	all := append(paramsOf(k.schedule), listParams(k.schedule)...)
	listed := []artifact.Param{
		{Name: "kc_map", Type: "map", Tensor: "i_cols_kc", Box: [2]int{64, 64}}, {Name: "vc_map", Type: "map", Tensor: "i_cols_vc", Box: [2]int{64, 64}},
	}
	for _, p := range all {
		if p.Name != "i_cols_kc" && p.Name != "i_cols_vc" {
			listed = append(listed, p.KernelParam)
		}
	}
	var err error
	k.params, err = bindParams(listed, k.schedule)
	require.NoError(t, err)
	dev := &mapDevice{devicetest.Fake: devicetest.New()}
	k.mapper, k.function = dev, &fakeFunction{dev.fakeDevice}
	a := contiguous() // of 400 keys, fewer than the budget: room for 7 blocks of columns and one more
	a.Workspace = 0x100000
	a.WorkspaceBytes, err = k.Workspace(a)
	require.NoError(t, err)
	require.NoError(t, k.LaunchAttention(nil, a))
	require.Len(t, dev.maps, 2)
	c, err := k.checkShape(a)
	require.NoError(t, err)
	x, err := k.planCall(c)
	require.NoError(t, err)
	for i, name := range []string{"i_cols_kc", "i_cols_vc"} {
		rows := uint64(512)
		require.Equal(t, device.TensorMap{DType: "bf16", Base: device.Ptr(x.at(name)), Dims: []uint64{128, rows, 12, 1},
			Strides: []uint64{256, 256 * rows, 256}, Box: []uint32{64, 64, 1, 1}, Swizzle: 128}, dev.maps[i])
		require.EqualValues(t, x.size(name), rows*12*256)
	}
}

func TestBadMapsAreRefused(t *testing.T) {
	_, schedule := artifacttest.AShape()
	good := withMaps(artifacttest.New().Manifest.Kernels[0].Params, "q", "k", "v", "o")
	_, err := bindParams(good, schedule)
	require.NoError(t, err)
	for says, damage := range map[string]func(p []artifact.Param){
		`"q_map" is a map of "x", want one of ["q" "k" "v" "o"]`:              func(p []artifact.Param) { p[0].Tensor = "x" },
		`"q_map" is a map of "i_cols_kc"`:                                     func(p []artifact.Param) { p[0].Tensor = "i_cols_kc" },
		`"v_map" columns of its box is 72, want a multiple of 8 from 8 to 64`: func(p []artifact.Param) { p[2].Box[0] = 72 },
		`"v_map" rows of its box is 257, want 1 to 256`:                       func(p []artifact.Param) { p[2].Box[1] = 257 },
		`"k_map" is listed twice`:                                             func(p []artifact.Param) { p[0].Name = "k_map" },
		`parameters are missing: k, k_batch, k_head, k_row`:                   func(p []artifact.Param) { p[1].Tensor = "q" },
		`"lse" has type "ptr q 0x0", want ptr`:                                func(p []artifact.Param) { p[4].Tensor = "q" },
		`"lse" is a map of "", want one of`:                                   func(p []artifact.Param) { p[4].Type = "map" },
	} {
		p := slices.Clone(good)
		damage(p)
		_, err := bindParams(p, schedule)
		require.ErrorContains(t, err, says)
	}
}

// Several maps of one tensor, and its address beside them, are a kernel's own choice.
func TestMapsMayBeManyAndPointersStay(t *testing.T) {
	_, schedule := artifacttest.AShape()
	params := artifacttest.New().Manifest.Kernels[0].Params
	for _, rows := range []int{64, 256} {
		params = append(params, artifact.Param{Name: "k_map" + strings.Repeat("x", rows/64), Type: "map", Tensor: "k", Box: [2]int{16, rows}})
	}
	_, err := bindParams(params, schedule)
	require.NoError(t, err)
}

func TestMapsNeedADeviceThatMakesThem(t *testing.T) {
	art := artifacttest.New()
	art.Manifest.Kernels[0].Params = withMaps(art.Manifest.Kernels[0].Params, "k")
	_, err := LoadKernel(devicetest.New(), art, artifact.Select{DType: "bf16"})
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

// Encoding is on the way of every launch: two allocations a map beside the device's own.
func BenchmarkMaps(b *testing.B) {
	b.ReportAllocs()
	_, schedule := artifacttest.AShape()
	k := &LoadedKernel{info: artifact.Kernel{HeadDim: 64, DType: "bf16", RowTile: 128}, schedule: schedule, plan: &indexPlan{}, code: code{mapper: constantMapper{}}}
	var err error
	k.params, err = bindParams(withMaps(artifacttest.New().Manifest.Kernels[0].Params, "q", "k", "v", "o"), schedule)
	require.NoError(b, err)
	c, err := k.check(contiguous())
	require.NoError(b, err)
	for b.Loop() {
		if _, err := k.arguments(c); err != nil {
			b.Fatal(err)
		}
	}
}

type constantMapper struct{}

var constantMap = make([]byte, device.TensorMapBytes)

func (constantMapper) EncodeTensorMap(device.TensorMap) ([]byte, error) { return constantMap, nil }
