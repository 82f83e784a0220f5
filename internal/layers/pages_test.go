package layers

import (
	"go/ast"
	"go/parser"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pages are the texts for readers, by path from the root. Others are made by tools.
func pages(t *testing.T) map[string]string {
	names, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	require.NoError(t, err)
	out := map[string]string{}
	for _, name := range append(names, filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md")) {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		short, err := filepath.Rel(root, name)
		require.NoError(t, err)
		out[filepath.ToSlash(short)] = string(text)
	}
	require.Greater(t, len(out), 10)
	return out
}

var (
	link     = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	filename = regexp.MustCompile("`([a-z][a-z0-9_]*/[a-z0-9_/]+\\.(?:go|minf|sh|py|md|txtar|txt))`")
)

// TestPagesNameFilesThatAreThere: links lead somewhere, and files in backticks are in the project; folders of codegen may stand without it.
func TestPagesNameFilesThatAreThere(t *testing.T) {
	there := func(name string) bool {
		_, err := os.Stat(filepath.Join(root, name))
		return err == nil
	}
	for page, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if name := path.Join(path.Dir(page), m[1]); !there(name) {
				t.Errorf("%s links to %s, which is not there", page, name)
			}
		}
		for _, m := range filename.FindAllStringSubmatch(text, -1) {
			if !there(m[1]) && !there("internal/codegen/"+m[1]) {
				t.Errorf("%s names %s, which is not there", page, m[1])
			}
		}
	}
}

// declared are the names that each package declares, methods and fields included.
func declared(t *testing.T) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for _, s := range readSources(t, parser.SkipObjectResolution) {
		name := strings.TrimSuffix(s.file.Name.Name, "_test")
		if out[name] == nil {
			out[name] = map[string]bool{}
		}
		note := func(names ...*ast.Ident) {
			for _, n := range names {
				out[name][n.Name] = true
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				note(n.Name)
			case *ast.TypeSpec:
				note(n.Name)
			case *ast.ValueSpec:
				note(n.Names...)
			case *ast.Field:
				note(n.Names...)
			}
			return true
		})
	}
	return out
}

var (
	qualified = regexp.MustCompile(`(?:^|[^\w./])([a-z][a-z0-9]*)\.([A-Z]\w*)`)
	testName  = regexp.MustCompile("`((?:Test|Benchmark|Fuzz)[A-Z]\\w*)`")
)

// TestPagesNameWhatIsDeclared: names such as ir.Pattern, and the names of tests, are names of the code.
func TestPagesNameWhatIsDeclared(t *testing.T) {
	names := declared(t)
	tests := map[string]bool{}
	for _, own := range names {
		for n := range own {
			tests[n] = true
		}
	}
	for page, text := range pages(t) {
		for _, m := range qualified.FindAllStringSubmatch(text, -1) {
			if own, ours := names[m[1]]; ours && !own[m[2]] {
				t.Errorf("%s names %s.%s, which package %s does not declare", page, m[1], m[2], m[1])
			}
		}
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			if !tests[m[1]] {
				t.Errorf("%s names %s, which is no test", page, m[1])
			}
		}
	}
}
