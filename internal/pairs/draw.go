package pairs

// A braille character holds 2 by 4 dots, which are square in most terminals.
const (
	charCols = 2
	charRows = 4
	blank    = '\u2800' // braille without a dot
)

// bits are the dots of a braille character, by row and column.
var bits = [charRows][charCols]rune{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}

// Picture is a drawing of one head: queries go down, keys to the right.
type Picture struct {
	Lines     []string // each of the same number of characters
	DotRows   float64  // queries that a dot stands for
	DotKeys   float64  // keys that a dot stands for
	Rows, All int      // rows that were drawn, and rows that there are
}

// Draw draws the first head of m, of a call with all rows in number, on width by height characters. A dot is set where at least
// one of its pairs is kept: that is where a kernel has something to compute.
func (m Mask) Draw(all, width, height int) Picture {
	cols, lines := min(width*charCols, m.Keys), min(height*charRows, len(m.Rows))
	p := Picture{DotRows: float64(all) / float64(max(lines, 1)), DotKeys: float64(m.Keys) / float64(max(cols, 1)), Rows: len(m.Rows), All: all}
	chars := make([][]rune, (lines+charRows-1)/charRows)
	for i := range chars {
		chars[i] = make([]rune, width)
		for j := range chars[i] {
			chars[i][j] = blank
		}
	}
	for i := range m.Rows {
		y := i * lines / len(m.Rows)
		m.dots(i, cols, func(x int) { chars[y/charRows][x/charCols] |= bits[y%charRows][x%charCols] })
	}
	for _, line := range chars {
		p.Lines = append(p.Lines, string(line))
	}
	return p
}

// dots calls set for each of cols columns in which row i keeps a key.
func (m Mask) dots(i, cols int, set func(x int)) {
	for k, b := range m.Kept[i*m.Keys:][:m.Keys] {
		if b != 0 {
			set(k * cols / m.Keys)
		}
	}
}
