package e2e

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/ir/irtest"
	"github.com/minfc/minfc/patterns"
)

var updateCheck = flag.Bool("update-check", false, "rewrite the expected parts of testdata/check")

// checkCases is how many random patterns of each kind TestCheckIsCompile compiles.
var checkCases = flag.Int("check-cases", 60, "random patterns of each kind that are checked and compiled")

// sourceOf prints a pattern in the language. Half of its sets are named first.
func sourceOf(p *ir.Pattern, rng *rand.Rand) string {
	w := &sourceWriter{rng: rng}
	var params []string
	for _, x := range p.Params {
		word := ""
		if x.Binding == ir.BindConst {
			word = "const "
		}
		params = append(params, fmt.Sprintf("%s%s = %d", word, x.Name, x.Default))
	}
	keep := w.set(p.Keep)
	index := ""
	if len(p.Index) > 0 {
		index = `
  index probs = softmax(q[-64:] * k)
  index cols = top(40, sum(probs, queries)) with first 1
  index cols2 = top(10, sum(probs, queries))
  index diags = top(40, sum(probs, diagonals)) with first 1
  index diags2 = top(10, sum(probs, diagonals(` + sizeOf(p, rng) + `)))
  index best = top(3, mean(q, 64) * mean(k, 64)) with last 1
  index best2 = top(2, mean(q, 64) * mean(k, 64))`
	}
	return fmt.Sprintf("pattern random(%s) {%s%s\n  keep %s\n}\n", strings.Join(params, ", "), index, w.lets.String(), keep)
}

// sizeOf is a size of runs: one that there is, mostly, or a parameter, or one that there is not.
func sizeOf(p *ir.Pattern, rng *rand.Rand) string {
	switch n := rng.IntN(16); {
	case n == 0 && len(p.Params) > 0:
		return pick(rng, p.Params).Name
	case n == 1:
		return pick(rng, []string{"0", "40", "144", "-16", "1..2", "32, 32"})
	default:
		return pick(rng, []string{"16", "32", "48", "64", "32 + 64", "128"})
	}
}

type sourceWriter struct {
	rng  *rand.Rand
	lets strings.Builder
	n    int
}

func (w *sourceWriter) set(s ir.Set) string {
	text := w.plain(s)
	if w.rng.IntN(8) > 0 {
		return text
	}
	w.n++
	fmt.Fprintf(&w.lets, "\n  let s%d = %s", w.n, text)
	return fmt.Sprintf("s%d", w.n)
}

func (w *sourceWriter) plain(s ir.Set) string {
	span := func(name string, from ir.Poly, to *ir.Poly, step ir.Poly) string {
		end := ""
		if to != nil {
			end = to.String()
		}
		return fmt.Sprintf("%s(%s..%s step %s)", name, from, end, step)
	}
	switch s := s.(type) {
	case ir.All:
		return "all"
	case ir.Causal:
		return "causal"
	case ir.Window:
		return fmt.Sprintf("window(%s, %s)", s.Left, s.Right)
	case ir.Sink:
		return fmt.Sprintf("sink(%s)", s.N)
	case ir.Columns:
		return span("columns", s.From, s.To, s.Step)
	case ir.Diagonals:
		return span("diagonals", s.From, s.To, s.Step)
	case ir.Rows:
		return ir.FormatSet(s)
	case ir.Chosen:
		return fmt.Sprintf("%s(%s)", map[ir.ChosenKind]string{ir.ChosenColumns: "columns", ir.ChosenDistances: "diagonals", ir.ChosenBlocks: "blocks"}[s.Kind], s.Name)
	case ir.Union:
		return w.join(s.Sets, " | ", `(all \ all)`)
	case ir.Intersect:
		return w.join(s.Sets, " & ", "all")
	case ir.Minus:
		return fmt.Sprintf(`(%s \ %s)`, w.set(s.Left), w.set(s.Right))
	}
	return fmt.Sprintf("%T", s)
}

func (w *sourceWriter) join(sets []ir.Set, op, none string) string {
	var parts []string
	for _, s := range sets {
		parts = append(parts, w.set(s))
	}
	if len(parts) == 0 {
		return none
	}
	return "(" + strings.Join(parts, op) + ")"
}

// mutant is a pattern of the library with some words changed.
func mutant(rng *rand.Rand) string {
	words := strings.Fields(`n window sink causal all columns diagonals rows blocks cols diags best 0 1 2 48 64 100 4k 1m step .. | & \ + - * ( ) with first last least most top top_p near_max sk min max / const`)
	_, src, _ := patterns.Source(pick(rng, patterns.Names()))
	ts := regexp.MustCompile(`[A-Za-z0-9_]+|\s+|//[^\n]*|.`).FindAllString(string(src), -1)
	for range 1 + rng.IntN(2) {
		switch i := rng.IntN(len(ts)); rng.IntN(3) {
		case 0:
			ts[i] = pick(rng, words)
		case 1:
			ts[i] += " " + pick(rng, words) + " "
		default:
			ts[i] = ts[rng.IntN(len(ts))]
		}
	}
	return strings.Join(ts, "")
}

// TestCheckIsCompile: check refuses exactly what compile refuses, whatever the head dim, the data type and the target, and neither
// finds a fault of ours.
func TestCheckIsCompile(t *testing.T) {
	cases := campaign.Few(min(8, *checkCases), *checkCases)
	for kind, draw := range map[string]func(rng *rand.Rand) string{
		"static": func(rng *rand.Rand) string {
			return sourceOf(irtest.RowsBySeed(rng.Uint64(), irtest.RandomPattern(rng)), rng)
		},
		"dynamic": func(rng *rand.Rand) string {
			return sourceOf(irtest.RowsBySeed(rng.Uint64(), irtest.RandomDynamic(rng)), rng)
		},
		"mutants": mutant,
	} {
		t.Run(kind, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(13, 4))
			taken, refused := 0, 0
			for range cases {
				src := draw(rng)
				for range rng.IntN(2) * 30 { // half of them pass the language's own rules, which most random ones do not
					if _, _, err := dsl.Load("p", []byte(src)); err == nil {
						break
					}
					src = draw(rng)
				}
				switch requireSameVerdict(t, src, rng) {
				case nil:
					taken++
				default:
					refused++
				}
			}
			t.Logf("%d taken, %d refused", taken, refused)
			require.Greater(t, taken, cases/10)
			require.Greater(t, refused, cases/20)
		})
	}
}

func requireSameVerdict(t *testing.T, src string, rng *rand.Rand) error {
	_, found, checked := compile.Check("p.minf", []byte(src), nil)
	var names []string
	for _, p := range found {
		names = append(names, p.Name)
	}
	opts := compile.Options{Target: pick(rng, []string{"auto", "sm_80", "sm_90a"}), DType: pick(rng, abi.DTypes()), HeadDim: pick(rng, []int{16, 64, 128, 256})}
	var compiled error
	for _, name := range append(names, "")[:max(1, len(names))] {
		_, err := compile.Source("p.minf", []byte(src), name, opts, nil)
		compiled = errors.Join(compiled, err)
	}
	require.Equal(t, checked == nil, compiled == nil, "%s\ncheck: %v\ncompile: %v", src, checked, compiled)
	if checked != nil {
		var source *dsl.Error
		require.ErrorAs(t, checked, &source, "without a place: %s", src)
		require.NotContains(t, checked.Error(), "internal:", src)
		require.NotContains(t, compiled.Error(), "internal:", src)
	}
	return checked
}

// TestCheckFiles runs testdata/check/*.txtar: sources that mean something, but that no kernel has.
func TestCheckFiles(t *testing.T) {
	paths, err := filepath.Glob("../testdata/check/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		a, err := txtar.ParseFile(path)
		require.NoError(t, err)
		in, want := a.Files[0], &a.Files[1]
		_, _, found := compile.Check(in.Name, in.Data, nil)
		require.Error(t, found, path)
		if *updateCheck {
			want.Data = []byte(found.Error() + "\n")
			require.NoError(t, os.WriteFile(path, txtar.Format(a), 0o644))
		}
		require.Equal(t, string(want.Data), found.Error()+"\n", path)
	}
}

// TestExamplesOfWhatNoKernelHas: an example earns its code, and what is right is taken. Package dsl tests the other codes.
func TestExamplesOfWhatNoKernelHas(t *testing.T) {
	for i, c := range dsl.Codes {
		if _, _, err := dsl.Load("p", []byte(c.Right)); err == nil && i%campaign.Few(4, 1) == 0 {
			_, _, err := compile.Check("p", []byte(c.Right), nil)
			require.NoError(t, err, c.Code)
		}
		if !strings.HasPrefix(c.Code, "E06") {
			continue
		}
		var bands strings.Builder
		for i := 0; i < 128; i += 2 {
			fmt.Fprintf(&bands, "columns(%d..%d) | ", i, i+1)
		}
		src := strings.Replace(c.Example, "columns(0..1) | columns(2..3) | ... | ", bands.String(), 1)
		_, _, err := compile.Check("p", []byte(src), nil)
		require.ErrorContains(t, err, "error["+c.Code+"]")
	}
}

func TestCheckTakesConstants(t *testing.T) {
	src := []byte("pattern p(const n = 4) { keep causal & diagonals(0.. step n) }")
	_, _, err := compile.Check("p", src, map[string]int64{"n": 8, "other": 3})
	require.NoError(t, err)
	_, _, err = compile.Check("p", src, map[string]int64{"n": 0})
	require.ErrorContains(t, err, "n must be at least 1, got 0")
}

// TestWhichChosenSetsCombine holds the table of docs/language.md.
func TestWhichChosenSetsCombine(t *testing.T) {
	const index = "index p = softmax(q[-64:] * k) index c = top(9, sum(p, queries)) index c2 = top(5, sum(p, queries)) index d = top(9, sum(p, diagonals)) " +
		"index d2 = top(5, sum(p, diagonals)) index b = top(3, mean(q, 64) * mean(k, 64)) index b2 = top(2, mean(q, 64) * mean(k, 64)) "
	sets := []string{"columns(c)", "diagonals(d)", "blocks(b)"}
	for n, row := range []struct {
		form  string
		takes [3]bool
	}{
		{"causal & x", [3]bool{true, true, true}},
		{"causal & window(90) & x", [3]bool{true, true, true}},
		{"causal & (window(90) | sink(4)) & x", [3]bool{false, true, true}},
		{"causal & (x | window(90))", [3]bool{true, true, true}},
		{"causal & (x | sink(4) | window(90))", [3]bool{true, true, true}},
		{"x | window(9, 9)", [3]bool{false, true, true}},
		{`causal & (x \ window(90))`, [3]bool{true, true, true}},
		{`causal & (x \ diagonals(64..128))`, [3]bool{false, true, true}},
		{"causal & x & columns(0.. step 4)", [3]bool{}},
		{"causal & x & diagonals(0.. step 4)", [3]bool{}},
		{`causal \ x`, [3]bool{}},
		{"causal & (columns(c2) | x)", [3]bool{false, true, false}},
		{"causal & (diagonals(d2) | x)", [3]bool{true, false, false}},
		{"causal & (blocks(b2) | x)", [3]bool{}},
		{`causal & (diagonals(d2) & window(90) | x \ window(90))`, [3]bool{true, true, true}},
		{`causal & (blocks(b2) & window(90) | x \ window(90))`, [3]bool{true, true, true}},
		{`causal & (columns(c2) & window(90) | x \ window(90))`, [3]bool{false, true, true}},
		{"causal & columns(c2) & x", [3]bool{}},
		{"causal & diagonals(d2) & x", [3]bool{}},
		{"causal & blocks(b2) & x", [3]bool{}},
	} {
		for i, x := range sets {
			if (n+i)%campaign.Few(5, 1) != 0 {
				continue
			}
			src := "pattern p { " + index + "keep " + strings.ReplaceAll(row.form, "x", x) + " }"
			_, _, err := compile.Check("p", []byte(src), nil)
			require.Equal(t, row.takes[i], err == nil, "%s\n%v", src, err)
			if err != nil {
				require.ErrorContains(t, err, "error[E0601]", src)
			}
		}
	}
}
