// Package palette has the colours of drawings.
package palette

import (
	"image/color"
	"math"
)

// Colours are ones that people with colour blindness tell apart (Okabe and Ito).
var Colours = []color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255},
	{230, 159, 0, 255}, {86, 180, 233, 255}, {90, 90, 90, 255}, {160, 120, 60, 255},
}

// Of is the colour of a number, again from the first one on behind the last.
func Of(n int) color.RGBA { return Colours[n%len(Colours)] }

// Shade is the colour of a number, the lighter the smaller a part of a whole is. Parts of next to nothing are still told apart, and small
// parts differ most.
func Shade(n int, part float64) color.RGBA {
	const lightest = 0.15
	full, depth := Of(n), lightest+(1-lightest)*math.Sqrt(min(1, part))
	mix := func(x uint8) uint8 { return uint8(255 - depth*(255-float64(x))) }
	return color.RGBA{mix(full.R), mix(full.G), mix(full.B), 255}
}
