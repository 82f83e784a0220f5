package headplan

import (
	"bytes"
	"fmt"
	"image/color"
	"image/png"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const drawn = `{"schema": 1, "search": {"density": 0.3, "ms": 2, "dense_ms": 9, "error": 0.1, "gated": 0}, "layers": [
{"0": {"pattern": "dense", "search": {"density": 1, "ms": 1, "error": 0}}, "2": {"pattern": "a_shape", "search": {"density": 0.31, "ms": 1, "error": 0.2}}},
{"1": {"pattern": "a_shape"}}]}`

func TestMap(t *testing.T) {
	f, err := Read(written(t, map[string]string{"p.json": drawn})("p.json"), "")
	require.NoError(t, err)
	var b strings.Builder
	require.NoError(t, f.WriteMap(&b, 0, 2))
	require.Equal(t, `    0  d* .  a3
    1  .  a  .
    a  a_shape: 2
    d  dense: 1
    .  no entry: vertical_slash vertical=1000 slash=6096
A row is a layer, a column a head; the digit is the density in tenths, * is all of it.
`, b.String())
}

// TestDrawing: cells are where their layers and heads are, in the colour of the pattern and the density.
func TestDrawing(t *testing.T) {
	f, err := Read(written(t, map[string]string{"p.json": drawn})("p.json"), "")
	require.NoError(t, err)
	data, err := f.Draw("x.png", 0, 2)
	require.NoError(t, err)
	again, err := f.Draw("x.PNG", 0, 2)
	require.NoError(t, err)
	require.Equal(t, data, again)
	img, err := png.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	at := func(layer, head int) color.RGBA { // the middle of a cell
		const dots = 96 / 2.54
		x := (0.4 + 0.9 + 0.45*(float64(head)+0.5)) * dots
		y := (0.4 + 2*0.55 + 0.45*(float64(layer)+1)) * dots
		r, g, b, _ := img.At(int(x), int(y)).RGBA()
		return color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}
	}
	want := func(pattern int, density float64) color.RGBA { return cell{pattern, density}.colour() }
	require.Equal(t, want(1, 1), at(0, 0))
	require.Equal(t, want(-1, -1), at(0, 1))
	require.Equal(t, want(0, 0.31), at(0, 2))
	require.Equal(t, want(0, -1), at(1, 1))
	require.NotEqual(t, want(0, 0.31), want(0, 0.5))

	svg, err := f.Draw("x.svg", 1, 2)
	require.NoError(t, err)
	require.Contains(t, string(svg), "a_shape: 1")
	require.NotContains(t, string(svg), "dense: 1")
	_, err = f.Draw("x.jpg", 0, 1)
	require.ErrorContains(t, err, "x.jpg: a plan is drawn as SVG or PNG")
}

func TestDrawingsHaveALimit(t *testing.T) {
	f, err := Read(written(t, map[string]string{"p.json": fmt.Sprintf(`{"schema": 1, "layers": [{"%d": {"pattern": "dense"}}]}`, mostCells)})("p.json"), "")
	require.NoError(t, err)
	_, err = f.Draw("x.svg", 0, 1)
	require.ErrorContains(t, err, "1 layers of 1025 heads, a drawing has room for 1024 of each")
}
