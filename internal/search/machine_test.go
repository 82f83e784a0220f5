package search

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/emu"
)

// TestPricing: without a name the machine that runs the device's code, and an emulator beside it where the code is another.
func TestPricing(t *testing.T) {
	for _, c := range []struct {
		capability      int
		target, machine string
		want            string
		beside          int // the capability of the emulator; 0 for none
	}{
		{90, "", "", "H200 sm_90a", 0}, {80, "", "", "H200 sm_80", 0}, {90, "sm_80", "", "H200 sm_80", 80}, {90, "", "A100", "A100 sm_80", 80},
		{80, "", "A100", "A100 sm_80", 0}, {80, "sm_90a", "H200", "H200 sm_90a", 90},
	} {
		dev, err := emu.Open(emu.Options{Capability: c.capability})
		require.NoError(t, err)
		m, beside, err := Pricing(dev, c.target, c.machine)
		require.NoError(t, err)
		require.Equal(t, c.want, m.Name+" "+m.Target)
		require.Equal(t, c.beside == 0, beside == nil, "%v", c)
		if beside != nil {
			require.Equal(t, c.beside, 10*beside.Info().Major+beside.Info().Minor)
			require.Equal(t, m.Multiprocessors, beside.Info().Multiprocessors)
			require.NoError(t, beside.Close())
		}
		_, _, err = Pricing(dev, "", "B200")
		require.ErrorContains(t, err, `the cost model does not know "B200"`)
		require.NoError(t, dev.Close())
	}
}
