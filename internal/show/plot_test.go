package show

import (
	"bytes"
	"image/color"
	"image/png"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/palette"
)

// Cells are where their queries and keys are, in the shade of what they keep.
func TestPlot(t *testing.T) {
	r, err := Make(Request{File: "a_shape", SeqLen: 4096})
	require.NoError(t, err)
	data, err := r.Plot("x.png")
	require.NoError(t, err)
	again, err := r.Plot("x.PNG")
	require.NoError(t, err)
	require.Equal(t, data, again)
	img, err := png.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	at := func(row, column int) color.RGBA { // the middle of a cell
		const dots = 96 / 2.54
		x := (0.4 + 0.2*(float64(column)+0.5)) * dots
		y := (0.4 + 2*0.6 + 0.2*(float64(row)+0.5)) * dots
		red, green, blue, _ := img.At(int(x), int(y)).RGBA()
		return color.RGBA{uint8(red >> 8), uint8(green >> 8), uint8(blue >> 8), 255}
	}
	require.Equal(t, palette.Shade(0, 1), at(60, 0), "the sink")
	require.Equal(t, palette.Shade(0, 1), at(60, 55), "the window")
	require.Equal(t, palette.Shade(0, float64(r.grid.kept[60][60])/4096), at(60, 60), "the diagonal")
	require.Equal(t, color.RGBA{240, 240, 240, 255}, at(60, 30), "between them")
	require.Equal(t, color.RGBA{240, 240, 240, 255}, at(10, 30), "after the query")

	_, err = r.Plot("x.pdf")
	require.ErrorContains(t, err, "x.pdf: a pattern is drawn as SVG or PNG")
}
