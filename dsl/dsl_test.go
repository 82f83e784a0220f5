package dsl_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/patterns"
)

var update = flag.Bool("update", false, "rewrite the expected parts of the file tests")

const testdata = "../testdata/dsl"

// TestFiles runs testdata/dsl/*.txtar: the first file of each archive is the input, every other one an output of the
// compiler under its name in outputs.
func TestFiles(t *testing.T) {
	for _, path := range archives(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			require.NoError(t, err)
			in := a.Files[0]
			for i, want := range a.Files[1:] {
				got := output(t, want.Name, in)
				if *update {
					a.Files[i+1].Data = []byte(got)
				} else {
					require.Equal(t, string(want.Data), got, want.Name)
				}
			}
			if *update {
				require.NoError(t, os.WriteFile(path, txtar.Format(a), 0o644))
			}
		})
	}
}

func archives(t testing.TB) []string {
	paths, err := filepath.Glob(filepath.Join(testdata, "*.txtar"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	return paths
}

func output(t *testing.T, kind string, in txtar.File) string {
	f, ps, err := dsl.Load(in.Name, in.Data)
	switch kind {
	case "ast":
		return dsl.PrintAST(f)
	case "ir":
		require.NoError(t, err)
		var b strings.Builder
		for _, p := range ps {
			b.WriteString(dump(p))
		}
		return b.String()
	case "format":
		return string(dsl.Format(f))
	case "warnings":
		require.NoError(t, err)
		return dsl.Render(f.Name, f.Src, f.Warnings)
	case "diagnostics":
		require.Error(t, err)
		return err.Error() + "\n"
	}
	t.Fatalf("unknown output %q", kind)
	return ""
}

// dump writes a lowered pattern for comparison; the text form that users see is in package ir.
func dump(p *ir.Pattern) string {
	var b strings.Builder
	fmt.Fprintf(&b, "pattern %s\n", p.Name)
	for _, x := range p.Params {
		fmt.Fprintf(&b, "  param %s = %d, at least %d, %s\n", x.Name, x.Default, x.Min, []string{"launch", "const"}[x.Binding])
	}
	for _, r := range p.Requires {
		fmt.Fprintf(&b, "  require %s = %s >= %d\n", r.What, r.Value, r.Min)
	}
	for _, d := range p.Index {
		fmt.Fprintf(&b, "  %s\n", d)
	}
	fmt.Fprintf(&b, "  keep %s\n", dumpSet(p.Keep))
	if p.Pool != 0 {
		fmt.Fprintf(&b, "  else mean of %d\n", p.Pool)
	}
	if p.Skip != nil {
		fmt.Fprintf(&b, "  skip %s\n", p.Skip.Share)
	}
	return b.String()
}

func dumpSet(s ir.Set) string {
	end := func(p *ir.Poly) string {
		if p == nil {
			return "end"
		}
		return p.String()
	}
	all := func(op string, sets []ir.Set) string {
		var parts []string
		for _, x := range sets {
			parts = append(parts, dumpSet(x))
		}
		return op + "(" + strings.Join(parts, ", ") + ")"
	}
	row := func(b ir.RowBound) string {
		if b.FromEnd {
			return "end + " + b.Off.String()
		}
		return b.Off.String()
	}
	switch x := s.(type) {
	case ir.Rows:
		to := "end"
		if x.To != nil {
			to = row(*x.To)
		}
		return fmt.Sprintf("rows[%s, %s]", row(x.From), to)
	case ir.All:
		return "all"
	case ir.Causal:
		return "causal"
	case ir.Window:
		return fmt.Sprintf("window[%s, %s]", x.Left, x.Right)
	case ir.Sink:
		return fmt.Sprintf("sink[%s]", x.N)
	case ir.Columns:
		return fmt.Sprintf("columns[%s to %s step %s]", x.From, end(x.To), x.Step)
	case ir.Diagonals:
		return fmt.Sprintf("diagonals[%s to %s step %s]", x.From, end(x.To), x.Step)
	case ir.Chosen:
		return fmt.Sprintf("chosen %s[%s]", x.Kind, x.Name)
	case ir.Union:
		return all("union", x.Sets)
	case ir.Intersect:
		return all("intersect", x.Sets)
	case ir.Minus:
		return all("minus", []ir.Set{x.Left, x.Right})
	default:
		return fmt.Sprintf("unexpected %T", s)
	}
}

// Every code has a file test named after it whose output shows the code, and an example that earns it.
func TestEveryCodeHasAFailingFile(t *testing.T) {
	for _, c := range dsl.Codes {
		dir := testdata
		if isRefusedByKernels(c) {
			dir = "../testdata/check"
		}
		a, err := txtar.ParseFile(filepath.Join(dir, c.Code+".txtar"))
		require.NoError(t, err)
		require.Contains(t, string(txtar.Format(a)), "["+c.Code+"]: ")
	}
}

// isRefusedByKernels says whether a code is of the compiler's later steps; the tests of minfc.Check have its example.
func isRefusedByKernels(c dsl.Code) bool { return strings.HasPrefix(c.Code, "E06") }

func TestExamplesOfCodes(t *testing.T) {
	spell := strings.NewReplacer(`\xff`, "\xff", "((((...))))", strings.Repeat("(", 100)+"all"+strings.Repeat(")", 100))
	for _, c := range dsl.Codes {
		right, _, err := dsl.Load("right", []byte(c.Right))
		require.NoError(t, err, c.Code)
		require.Empty(t, right.Warnings, c.Code)
		if isRefusedByKernels(c) {
			continue
		}
		f, _, err := dsl.Load("example", []byte(spell.Replace(c.Example)))
		ds := f.Warnings
		if e, ok := err.(*dsl.Error); ok {
			ds = e.Diagnostics
		}
		require.Len(t, ds, 1, c.Code)
		require.Equal(t, c.Code, ds[0].Code)
		text, ok := dsl.Explain(c.Code)
		require.True(t, ok)
		require.Contains(t, text, c.Meaning)
		require.Contains(t, text, c.Do)
		require.NotEmpty(t, c.Do)
	}
	_, ok := dsl.Explain("E9999")
	require.False(t, ok)
}

// The style of messages: lower case, no full stop.
func TestMessagesAreInStyle(t *testing.T) {
	for _, path := range archives(t) {
		a, err := txtar.ParseFile(path)
		require.NoError(t, err)
		_, _, err = dsl.Load(a.Files[0].Name, a.Files[0].Data)
		e, ok := err.(*dsl.Error)
		if !ok {
			continue
		}
		for _, d := range e.Diagnostics {
			for _, text := range append([]string{d.Message, d.Primary.Text, d.Help}, d.Notes...) {
				require.False(t, strings.HasSuffix(text, "."), text)
				require.False(t, text != "" && text[0] >= 'A' && text[0] <= 'Z', text)
			}
		}
	}
}

func TestFormatKeepsMeaningAndIsIdempotent(t *testing.T) {
	for _, path := range archives(t) {
		a, err := txtar.ParseFile(path)
		require.NoError(t, err)
		requireFormatRoundTrip(t, a.Files[0].Data)
	}
	for _, name := range patterns.Names() {
		file, src, _ := patterns.Source(name)
		requireFormatRoundTrip(t, src)
		f, err := dsl.Parse(file, src)
		require.NoError(t, err)
		require.Equal(t, string(src), string(dsl.Format(f)), "the library is kept in the canonical layout")
	}
}

// requireFormatRoundTrip does nothing for a file with syntax errors.
func requireFormatRoundTrip(t *testing.T, src []byte) {
	f, err := dsl.Parse("a", src)
	if err != nil {
		return
	}
	once := dsl.Format(f)
	g, err := dsl.Parse("b", once)
	require.NoError(t, err, "formatted:\n%s", once)
	require.Equal(t, dsl.TreeWithoutSpans(f), dsl.TreeWithoutSpans(g))
	require.Equal(t, comments(src), comments(once))
	require.Equal(t, string(once), string(dsl.Format(g)))
}

// comments lists the comments of a source text; the language has no strings, so `//` always begins one.
func comments(src []byte) []string {
	var out []string
	for _, line := range strings.Split(string(src), "\n") {
		if _, c, ok := strings.Cut(line, "//"); ok {
			out = append(out, strings.TrimRight(c, " \t\r"))
		}
	}
	return out
}

// The reference shows every set and every code with the compiler's own words.
func TestLanguageReferenceIsComplete(t *testing.T) {
	doc, err := os.ReadFile("../docs/language.md")
	require.NoError(t, err)
	for _, c := range dsl.Codes {
		require.Contains(t, string(doc), fmt.Sprintf("| %s | %s |", c.Code, c.Meaning))
	}
	for _, usage := range dsl.SetUsages() {
		require.Contains(t, string(doc), "| `"+usage+"` |")
	}
	for _, usage := range dsl.IndexUsages() {
		require.Contains(t, string(doc), "| `"+usage+"` |")
	}
}

func TestHostileInput(t *testing.T) {
	big := func(n int, f string) string { return strings.Repeat(f, n) }
	doubling := "pattern p { let a0 = causal "
	for i := range 40 {
		doubling += fmt.Sprintf("let a%d = a%d | a%d ", i+1, i, i)
	}
	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, "index a%d = softmax(q[-%d:] * k) ", i, i+1)
	}
	for name, src := range map[string]string{
		"parentheses":        "pattern p { keep " + big(20000, "(") + "all" + big(20000, ")") + "}",
		"calls":              "pattern p { keep " + big(20000, "sink("),
		"signs":              "pattern p { keep sink(" + big(20000, "-") + "1) }",
		"operators":          "pattern p { keep all" + big(20000, " | all") + "}",
		"doubling sets":      doubling + "keep a40 }",
		"exploding products": "pattern p(a=1, b=1, c=1, d=1, e=1) { keep sink(" + big(60, "(a+b+c+d+e)*") + "1) }",
		"brackets":           "pattern p { index a = " + big(20000, "q[") + "1",
		"functions":          "pattern p { index a = " + big(20000, "softmax(") + "q",
		"nested functions":   "pattern p { index a = " + big(60, "softmax(") + "q" + big(60, ")") + " keep all }",
		"many values":        "pattern p { " + many.String() + "keep causal }",
		"forced and forced":  "pattern p { index a = top(1, sum(softmax(q[-1:] * k), queries))" + big(5000, " with first 1") + " keep columns(a) }",
		"overflow":           "pattern p { keep sink(" + big(200, "1m*") + "1) }",
		"power":              "pattern p(n = 1m) { keep sink(n*n*n*n) }",
	} {
		_, _, err := dsl.Load(name, []byte(src))
		e, ok := err.(*dsl.Error)
		require.True(t, ok, name)
		require.NotEmpty(t, e.Diagnostics, name)
		require.Less(t, len(e.Error()), 20000, name)
	}
}

func TestManyErrorsAreCounted(t *testing.T) {
	_, _, err := dsl.Load("a.minf", []byte("pattern p { keep causal }"+strings.Repeat(";", 80)))
	require.Contains(t, err.Error(), "\nand 30 more")
}

// What disturbs a terminal does not come out of an error message.
func TestRenderingIsSafeForTerminals(t *testing.T) {
	_, _, err := dsl.Load("a\x1b[31m.minf", []byte("pattern p { keep causal \x1b[31m\t& \u202e }"))
	require.NotContains(t, err.Error(), "\x1b")
	require.NotContains(t, err.Error(), "\u202e")
	require.NotContains(t, err.Error(), "\t")
}

func TestSameInputSameDiagnostics(t *testing.T) {
	src := []byte("pattern p(a = 1, b = 2, a = 3) { keep windw(1) | sinc(2) | window(c) | columns(3) }\npattern p { keep q(1) }")
	_, _, first := dsl.Load("a", src)
	for range 20 {
		_, _, err := dsl.Load("a", src)
		require.Equal(t, first.Error(), err.Error())
	}
}

// Editors on other systems write a byte order mark and carriage returns; both mean nothing and Format drops them.
func TestByteOrderMarkAndCarriageReturns(t *testing.T) {
	f, ps, err := dsl.Load("a", []byte("\ufeffpattern p { // c\r\n  keep causal\r\n}\r\n"))
	require.NoError(t, err)
	require.Len(t, ps, 1)
	require.Equal(t, "pattern p { // c\n  keep causal\n}\n", string(dsl.Format(f)))
	src := []byte("\ufeffpattern p(n = 1) { keep all }")
	f, _, err = dsl.Load("a", src)
	require.NoError(t, err)
	require.Contains(t, dsl.Render("a", src, f.Warnings), "--> a:1:11\n")
	_, _, err = dsl.Load("a", []byte("\ufeffpattern p { keep windw(1) }\r\n"))
	require.Contains(t, err.Error(), "--> a:1:18\n")
	_, _, err = dsl.Load("a", []byte("\ufeff"))
	require.Contains(t, err.Error(), "[E0107]")
}

func TestParseReturnsWhatCouldBeRead(t *testing.T) {
	f, err := dsl.Parse("a", []byte("pattern a { keep }\npattern b { keep all }"))
	require.ErrorContains(t, err, "found `}`, wanted a set")
	require.Len(t, f.Patterns, 1)
	require.Equal(t, "b", f.Patterns[0].Name.Name)
}
