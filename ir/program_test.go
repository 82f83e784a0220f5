package ir_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

func TestExprValues(t *testing.T) {
	env := ir.Env{"a": 7, "b": 3, "zero": 0, "far": 1 << 40}
	for text, want := range map[string]int64{
		"a + b*2 - 1":                   12,
		"a - (b - 2)":                   6,
		"(a + b)*(a - b)":               40,
		"ceildiv(a, b)":                 3,
		"floordiv(a, b)":                2,
		"floordiv(0 - a, b)":            -3,
		"ceildiv(0 - a, b)":             -2,
		"min(a, max(b, 5))":             5,
		"atleast(a, 7) + atleast(b, 7)": 1,
		"pick(zero, nobody, a)":         7,
		"pick(b, a, nobody)":            7,
		"count(b - a)":                  0,
		"count(far*far)":                ir.MaxParam,
		"count(far)":                    ir.MaxParam,
		"bitlen(a)":                     3,
		"bitlen(zero)":                  0,
		"a*-1":                          -7,
	} {
		e, err := ir.ParseExpr(text)
		require.NoError(t, err, text)
		got, err := e.Eval(env)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
		again, err := ir.ParseExpr(e.String())
		require.NoError(t, err, text)
		require.Equal(t, e, again, text)
	}
}

// Numbers that do not fit are errors, never other numbers.
func TestExprOverflow(t *testing.T) {
	env := ir.Env{"big": math.MaxInt64, "small": math.MinInt64, "m": -1, "zero": 0}
	for text, want := range map[string]string{
		"big + 1":           "big + 1 does not fit 64 bits",
		"small - 1":         "does not fit",
		"big*2":             "does not fit",
		"m*small":           "does not fit",
		"small*m":           "does not fit",
		"0 - small":         "does not fit",
		"ceildiv(3, zero)":  "want a divisor above 0",
		"floordiv(3, 0-1)":  "want a divisor above 0",
		"1 + nobody":        "nobody has no value here",
		"count(1 + nobody)": "nobody has no value here",
	} {
		e, err := ir.ParseExpr(text)
		require.NoError(t, err, text)
		_, err = e.Eval(env)
		require.ErrorContains(t, err, want, text)
	}
}

func TestBadExprs(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "want a number",
		"a +":                      "found the end of the line",
		"(a":                       `want ")"`,
		"median(a, b)":             `found "median", want a function`,
		"min(a)":                   `want ","`,
		"a b":                      `found "b" after the end`,
		"a $ b":                    "want a name, a number or an operator",
		strings.Repeat("(", 300):   "nested more than 200 deep",
		"min(a, b, c)":             `want ")"`,
		"99999999999999999999 + 1": "want a number of at most",
	} {
		_, err := ir.ParseExpr(text)
		require.ErrorContains(t, err, want, text)
	}
}

// small is a program whose kernels are made up: nothing knows them but what it says.
const small = `program small
  variant size of 1, 2, 4 for sharers
  value half = ceildiv(sk, 2)
  most largest = count(p_n)
  limit batch*q_heads to 100 "the heads of all entries; split the batch"
  work launches = 3
  buffer numbers i32 64*ceildiv(q_heads + batch*q_heads, 64)
  buffer queue u32 1
  buffer sums f32 batch*q_heads, half passing
  buffer list i32 batch*q_heads, largest
  buffer scores f32 batch*q_heads, half passing over sums
  part numbers
    store numbers by store
      row count count(p_n)
  part choose
    for b to batch by 1
      let first = b*q_heads
      heads first, q_heads
      run add.size grid half, q_heads, 1
        x = at k + b*k_batch
        y = at sums + 4*half*first
        n = half
        scale = float scale_log2 / 4
    run pick grid q_heads, batch, 1 threads 32*size
      from = at sums
      to = at list
      n = half
      cap = largest
      heads = null
    zero queue
`

func smallKernels(t *testing.T) ir.Kernels {
	size := func(text string) *ir.Expr {
		e, err := ir.ParseExpr(text)
		require.NoError(t, err)
		return &e
	}
	ptr := func(name string, reads, writes *ir.Expr) ir.KernelParam {
		return ir.KernelParam{Name: name, Type: "ptr", Reads: reads, Writes: writes}
	}
	add := []ir.KernelParam{ptr("x", nil, nil), ptr("y", nil, size("4*n*grid_y")), {Name: "n", Type: "i32"},
		{Name: "scale", Type: "f32"}, {Name: "sk", Type: "i32"}}
	kernels := map[string][]ir.KernelParam{
		"add.1": add, "add.2": add, // four have no room
		"pick": {ptr("from", size("4*n*grid_x*grid_y"), nil), ptr("to", nil, size("4*cap*grid_x*grid_y")), {Name: "n", Type: "i32"},
			{Name: "cap", Type: "i32"}, ptr("heads", nil, nil)},
		"store": {ptr("to", nil, nil), {Name: "w0", Type: "i64"}, {Name: "w1", Type: "i64"}},
	}
	return func(name string) ([]ir.KernelParam, bool) {
		p, ok := kernels[name]
		return p, ok
	}
}

func parsed(t *testing.T, text string) *ir.Program {
	p, err := ir.ParseProgram(text)
	require.NoError(t, err)
	return p
}

var params = []ir.Param{{Name: "n"}}

func TestProgramRoundTrip(t *testing.T) {
	p := parsed(t, small)
	require.Equal(t, small, p.String())
	require.NoError(t, p.Verify(params, smallKernels(t)))
	require.Equal(t, []string{"store", "add.1", "add.2", "add.4", "pick"}, p.KernelNames())
}

func launch(t *testing.T, batch, heads int64, absent ...int) ir.ProgramLaunch {
	l := ir.ProgramLaunch{Kernels: smallKernels(t), Numbers: ir.Env{"batch": batch, "q_heads": heads, "kv_heads": heads, "group": 1,
		"sq": 10, "sk": 21,
		"q_offset": 0, "head_dim": 64, "sharers": 3, "k_batch": 1000, "p_n": 5}}
	for h := range heads {
		l.Heads = append(l.Heads, ir.Env{"p_n": 5 + h})
	}
	for _, h := range absent {
		l.Heads[h] = nil
	}
	return l
}

// A program becomes launches: the size that fits, arguments by name, loops without heads that take no part.
func TestProgramActions(t *testing.T) {
	b, err := parsed(t, small).Bind(launch(t, 2, 3, 1))
	require.NoError(t, err)
	require.EqualValues(t, 2, b.Number("size"), "the largest that there is")
	require.EqualValues(t, 7, b.Number("largest"))
	require.EqualValues(t, 256+256+256, b.Kept, "numbers, queue and list")
	require.EqualValues(t, 512, b.Passing, "one place for two buffers of 2*3*11 floats")
	require.Equal(t, b.Extent("sums").Offset, b.Extent("scores").Offset)

	store, err := b.Part(ir.PartNumbers, ir.Routed{})
	require.NoError(t, err)
	require.Len(t, store, 3, "3 numbers and 6 words of heads, 4 a launch")
	require.EqualValues(t, 5|0<<32, store[0].Args[1].Number, "the head that takes no part has 0")
	require.EqualValues(t, 7|0<<32, store[0].Args[2].Number, "then the words of heads")
	require.EqualValues(t, ir.RouteElsewhere, store[1].Args[1].Number)

	choose, err := b.Part(ir.PartChoose, ir.Routed{})
	require.NoError(t, err)
	require.Len(t, choose, 4)
	second := choose[1]
	require.Equal(t, "add.2", second.Kernel)
	require.Equal(t, [3]int64{11, 3, 1}, second.Grid)
	require.Equal(t, ir.Address{Base: "k", Bytes: 1000}, second.Args[0].Address)
	require.Equal(t, ir.Address{Base: ir.BasePassing, Bytes: 4 * 11 * 3}, second.Args[1].Address)
	require.Equal(t, ir.ActionArg{Kind: ir.ArgFloat, Float: "scale_log2", By: 4}, second.Args[3])
	require.EqualValues(t, 21, second.Args[4].Number, "by its name")
	require.EqualValues(t, 64, choose[2].Threads)
	require.EqualValues(t, 4, choose[3].Bytes)

	none, err := parsed(t, small).Bind(launch(t, 2, 3, 0, 1, 2))
	require.NoError(t, err)
	choose, err = none.Part(ir.PartChoose, ir.Routed{})
	require.NoError(t, err)
	require.Len(t, choose, 2, "no head takes part in the loop")
}

func TestProgramsThatDoNotFitACall(t *testing.T) {
	_, err := parsed(t, small).Bind(launch(t, 40, 3))
	require.EqualError(t, err, "the heads of all entries is 120, want at most 100; split the batch")
	negative := strings.Replace(small, "buffer list i32 batch*q_heads, largest", "buffer list i32 q_offset - 1", 1)
	_, err = parsed(t, negative).Bind(launch(t, 1, 1))
	require.ErrorContains(t, err, "for list, which no device has")
	for old, new := range map[string]string{
		"list i32 batch*q_heads, largest": "list i32 batch*q_heads, largest - 1", // smaller than its writer says
		"at sums + 4*half*first":          "at sums + 4*half*first + 64",
	} {
		b, err := parsed(t, strings.Replace(small, old, new, 1)).Bind(launch(t, 2, 3))
		require.NoError(t, err)
		_, err = b.Part(ir.PartChoose, ir.Routed{})
		require.ErrorContains(t, err, "the kernel uses", new)
	}
}

// Every rule of Verify, broken once.
func TestProgramVerifyRefuses(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"n = half\n        scale", "m = half\n        scale", "add.1 has no parameter m"},
		{"        scale = float scale_log2 / 4\n", "", "there is no float scale"},
		{"        scale = float scale_log2 / 4\n", "        scale = half\n", "parameter scale of add.1 is of type f32, the argument is not"},
		{"      cap = largest\n", "", "parameter cap of pick has no argument, and nothing else is called cap"},
		{"      to = at list\n", "      to = at numbers\n", ""},
		{"      from = at sums\n", "      from = at list\n", "buffer list is read before it is written"},
		{"      from = at sums\n", "      from = at sims\n", "there is no buffer sims"},
		{"y = at sums", "y = at scores", "buffer sums is read before it is written"},
		{"      to = at list\n", "      to = at scores\n", "buffers sums and scores have one extent and are in use at the same time"},
		{"let first = b*q_heads", "let half = b*q_heads", "half is defined twice"},
		{"let first = b*q_heads", "let first = c*q_heads", "c is not defined where c*q_heads uses it"},
		{"count(p_n)\n  limit", "count(p_m)\n  limit", "p_m is not defined"},
		{"value half = ceildiv(sk, 2)", "value half = largest", "largest is not defined"},
		{"run pick grid", "run puck grid", "there is no kernel puck"},
		{"by store\n", "by stare\n", "there is no kernel stare"},
		{"run add.size", "run add.saze", "comes in the variant saze, which is not defined"},
		{"of 1, 2, 4", "of 4, 2, 1", "want ascending numbers"},
		{"buffer queue u32", "buffer queue f16", "elements of type f16"},
		{"buffer queue u32", "buffer q u32", "two buffers or tensors are called q"},
		{"buffer queue u32", "buffer sums u32", "two buffers or tensors are called sums"},
		{"passing over sums", "over sums", `lies over "sums", want an earlier buffer of its kind`},
		{"passing over sums", "passing over scores", `lies over "scores"`},
		{"part numbers", "part letters", "part letters stands where it cannot"},
		{"part choose", "part numbers", "part numbers stands where it cannot"},
		{"zero queue", "zero quay", "there is no buffer quay"},
	} {
		require.Contains(t, small, c.old)
		err := parsed(t, strings.Replace(small, c.old, c.new, 1)).Verify(params, smallKernels(t))
		if c.want == "" {
			require.NoError(t, err, c.new)
			continue
		}
		require.ErrorContains(t, err, c.want, c.new)
	}
}

func TestBadProgramText(t *testing.T) {
	for old, want := range map[string]string{
		"program small":           "want \"program\"",
		"grid half, q_heads, 1\n": "found a grid of 2 numbers, want 3",
		"row count":               "want one of count, share, threshold",
		"zero queue":              "want let, for, heads, run, store or zero",
		"work launches":           "want variant, value, most, limit, work, buffer or part",
		"at sums\n":               "",
	} {
		new := map[string]string{"program small": "pattern small", "grid half, q_heads, 1\n": "grid half, q_heads\n", "row count": "row raw",
			"zero queue": "one queue", "work launches": "toil launches"}[old]
		if want == "" {
			continue
		}
		_, err := ir.ParseProgram(strings.Replace(small, old, new, 1))
		require.ErrorContains(t, err, want)
	}
}

// Whatever is read prints as it was read, and hostile text is refused in little time.
func FuzzParseProgram(f *testing.F) {
	f.Add(small)
	f.Add("program p\n  value a = ((1))*-2\n  part choose\n    for i to 3 by 0\n      zero b\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ir.ParseProgram(text)
		if err != nil {
			return
		}
		again, err := ir.ParseProgram(p.String())
		require.NoError(t, err, "%s", p)
		require.Equal(t, p.String(), again.String())
		_ = p.Verify(params, func(string) ([]ir.KernelParam, bool) { return nil, true })
	})
}
