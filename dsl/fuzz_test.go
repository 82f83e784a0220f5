package dsl_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/patterns"
)

// FuzzLoad feeds arbitrary bytes: no panic, spans inside the source, errors that render, and formatting that keeps the
// meaning and the comments.
func FuzzLoad(f *testing.F) {
	for _, name := range patterns.Names() {
		_, src, _ := patterns.Source(name)
		f.Add(src)
	}
	for _, path := range archives(f) {
		a, err := txtar.ParseFile(path)
		require.NoError(f, err)
		f.Add(a.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		file, ps, err := dsl.Load("fuzz", src)
		if err != nil {
			e, ok := err.(*dsl.Error)
			require.True(t, ok)
			require.NotEmpty(t, e.Error())
			require.NotContains(t, e.Error(), "internal:")
			require.Empty(t, ps)
			for _, d := range e.Diagnostics {
				require.LessOrEqual(t, d.Primary.Span.End, len(src))
			}
		}
		dsl.PrintAST(file)
		requireFormatRoundTrip(t, src)
	})
}

func BenchmarkLoad(b *testing.B) {
	file, src, _ := patterns.Source("a_shape")
	for b.Loop() {
		if _, _, err := dsl.Load(file, src); err != nil {
			b.Fatal(err)
		}
	}
}
