// Package layers holds the project to its own map: which folder may import which, and how long files and functions may be.
package layers

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/minfc/minfc"
)

// row is a line of the map in CONTRIBUTING.md.
type row struct {
	name    string // its first folder
	imports map[string]bool
}

var (
	tableRow = regexp.MustCompile("(?m)^\\| (`[^|]*/`[^|]*) \\| [^|]* \\|([^|]*)\\|$")
	folder   = regexp.MustCompile("`([^`]*)/`")
)

// readMap reads the table: the row of each folder that is named.
func readMap(t *testing.T) map[string]*row {
	text, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]*row{}
	for _, cells := range tableRow.FindAllStringSubmatch(string(text), -1) {
		r := &row{imports: map[string]bool{}}
		for _, f := range folder.FindAllStringSubmatch(cells[1], -1) {
			if rows[f[1]] != nil {
				t.Errorf("CONTRIBUTING.md has two rows for the folder %s", f[1])
			}
			rows[f[1]] = r
			if r.name == "" {
				r.name = f[1]
			}
		}
		for _, f := range folder.FindAllStringSubmatch(cells[2], -1) {
			r.imports[f[1]] = true
		}
	}
	if len(rows) < 20 {
		t.Fatalf("CONTRIBUTING.md has a map of %d folders, that cannot be all", len(rows))
	}
	return rows
}

// rowOf is the row of a folder: its own, or the one of the nearest folder above.
func rowOf(rows map[string]*row, dir string) *row {
	if dir == "." {
		return rows["."]
	}
	for ; dir != "."; dir = path.Dir(dir) {
		if r := rows[dir]; r != nil {
			return r
		}
	}
	return nil
}

// source is a parsed Go file of the project, whatever its build constraints.
type source struct {
	path string // from the root, with slashes
	file *ast.File
	set  *token.FileSet
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func readSources(t *testing.T, mode parser.Mode) (out []source) {
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, mode)
		short, _ := filepath.Rel(root, name)
		out = append(out, source{filepath.ToSlash(short), file, set})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// checkImports says what the map does not allow of one file.
func checkImports(rows map[string]*row, s source) (faults []string) {
	dir := path.Dir(s.path)
	own := rowOf(rows, dir)
	if own == nil {
		return []string{fmt.Sprintf("%s: the map has no row for the folder %s", s.path, dir)}
	}
	for _, i := range s.file.Imports {
		imported, _ := strconv.Unquote(i.Path.Value)
		if imported != module && !strings.HasPrefix(imported, module+"/") {
			continue
		}
		of := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
		if of == "" {
			of = "."
		}
		if !allowed(rows, own, rowOf(rows, of)) {
			faults = append(faults, fmt.Sprintf("%s: imports %s, which the row of %s/ does not name", s.set.Position(i.Pos()), imported, own.name))
		}
	}
	return faults
}

// allowed says whether one row is the other, or names a folder of it.
func allowed(rows map[string]*row, own, other *row) bool {
	if own == other {
		return true
	}
	for name := range own.imports {
		if other != nil && rows[name] == other {
			return true
		}
	}
	return false
}

func TestImportsFollowTheMap(t *testing.T) {
	rows := readMap(t)
	for name, r := range rows {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("the map has a row for %s/, which is not there", name)
		}
		for i := range r.imports {
			if rows[i] == nil {
				t.Errorf("the row of %s/ names %s/, which has no row", name, i)
			}
			if rows[i] == rows["cmd/minfc"] || rows[i] == rows["internal/layers"] {
				t.Errorf("the row of %s/ names %s/, which only tests may import, or nothing at all", name, i)
			}
		}
	}
	for _, s := range readSources(t, parser.ImportsOnly) {
		if s.isTest() {
			continue
		}
		for _, fault := range checkImports(rows, s) {
			t.Error(fault)
		}
	}
}

// A reader keeps a function in view, and finds his way in a file.
const (
	mostFileLines = 500
	mostFuncLines = 53
)

func TestFilesAndFunctionsAreShort(t *testing.T) {
	for _, s := range readSources(t, parser.SkipObjectResolution) {
		if lines := s.set.File(s.file.Pos()).LineCount(); lines > mostFileLines {
			t.Errorf("%s has %d lines, want at most %d", s.path, lines, mostFileLines)
		}
		for _, d := range s.file.Decls {
			f, is := d.(*ast.FuncDecl)
			if !is {
				continue
			}
			first, last := s.set.Position(f.Pos()), s.set.Position(f.End())
			if lines := last.Line - first.Line + 1; lines > mostFuncLines {
				t.Errorf("%s:%d: %s has %d lines, want at most %d", s.path, first.Line, f.Name.Name, lines, mostFuncLines)
			}
		}
	}
}
