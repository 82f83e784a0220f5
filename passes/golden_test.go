package passes

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/minfc/minfc/ir"
)

var update = flag.Bool("update", false, "rewrite the expected texts in testdata")

// TestGolden runs all passes on the patterns in testdata and compares what every pass leaves. A pass that changes nothing is
// left out of the file.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	require.NoError(t, err)
	source := archive.Files[0]
	p, err := ir.ParsePattern(string(source.Data))
	require.NoError(t, err)
	got := &txtar.Archive{Comment: archive.Comment, Files: []txtar.File{source}}
	last := p.String()
	_, err = Run(p, Options{Tile: Fixed(goldenTile(p)), Verify: true, After: func(name, text string) {
		if text != last {
			got.Files = append(got.Files, txtar.File{Name: name, Data: []byte(text)})
			last = text
		}
	}})
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(file, txtar.Format(got), 0o666))
		return
	}
	require.Equal(t, string(txtar.Format(archive)), string(txtar.Format(got)), "run with -update if the change is meant")
}

// goldenTile is the tile of a common target.
func goldenTile(p *ir.Pattern) ir.Tile {
	if len(p.Index) > 0 {
		return ir.Tile{Rows: ir.BlockSize, Keys: 64}
	}
	return tile128x64
}
