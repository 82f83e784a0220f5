package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/dsl"
)

// Patterns that the pages show to be copied are ones that kernels have, for both generations of code, and the compiler finds nothing to warn of.
func TestPatternsOfThePages(t *testing.T) {
	for page, least := range map[string]int{"families.md": 6, "choices.md": 1, "slash-tiles.md": 1, "else-mean.md": 1} {
		text, err := os.ReadFile(filepath.Join("..", "docs", page))
		require.NoError(t, err)
		found := 0
		for i, block := range strings.Split(string(text), "```") {
			src := strings.TrimSpace(block)
			if i%2 == 0 || !strings.HasPrefix(src, "pattern ") {
				continue
			}
			found++
			file, patterns, err := dsl.Load(page, []byte(src))
			require.NoError(t, err, "%s: %s", page, src)
			require.Empty(t, file.Warnings, "%s: %s", page, src)
			p, err := compile.Load(page, []byte(src), patterns[0].Name, nil)
			require.NoError(t, err)
			_, err = p.Compile(compile.Options{Target: compile.TargetAuto, HeadDim: 128, DType: abi.BF16}, nil)
			require.NoError(t, err, "%s: %s", page, src)
		}
		require.GreaterOrEqual(t, found, least, page)
	}
}
