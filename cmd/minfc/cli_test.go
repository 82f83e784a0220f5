package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/safetensors"
)

var update = flag.Bool("update", false, "rewrite the expected outputs inside the scripts")

// TestMain makes minfc and the helpers below commands of the scripts; each runs as a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"minfc":   main,
		"mkqkv":   helper(mkqkv),
		"tensors": helper(tensors),
		"show":    helper(showTensors),
		"damage":  helper(damage),

		"swapheads": helper(swapHeads),
		"takeheads": helper(takeHeads),
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "../../testdata/cli",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "short": short, "drawing": drawing, "readme": readme, "standin": standin},
		Setup: func(e *testscript.Env) error {
			root, err := filepath.Abs("../..")
			e.Setenv("ROOT", root)
			e.Setenv("MINFC_CACHE", "off") // but for the script of the cache
			return err
		},
	})
}

// exits runs a command and wants an exit code: exits 2 minfc run.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGUMENT]...")
	}
	code := 0
	var failed *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &failed) {
		code = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if want, err := strconv.Atoi(args[0]); err != nil || code != want {
		ts.Fatalf("exit code %d, wanted %s", code, args[0])
	}
}

// short WIDTH LINES wants the last standard output to be no wider and no longer: short 100 15. It stands for the terminal of a person
// who runs the first command, so nothing may go to standard error beside it.
func short(ts *testscript.TestScript, neg bool, args []string) {
	n, err := ints(args)
	ts.Check(err)
	lines := strings.Split(strings.TrimRight(ts.ReadFile("stdout"), "\n"), "\n")
	if len(lines) > n[1] {
		ts.Fatalf("%d lines, wanted %d at most", len(lines), n[1])
	}
	for _, l := range lines {
		if w := utf8.RuneCountInString(l); w > n[0] {
			ts.Fatalf("a line of %d characters, wanted %d at most: %s", w, n[0], l)
		}
	}
}

// shrunk are words of the README's commands that only a GPU gets through, and what a script runs instead.
var shrunk = strings.NewReplacer("--seqlen 32k,128k --heads 8", "--device emu --rounds 1 --seqlen 64,128 --heads 2")

// readme FILE runs the lines "    minfc ..." of a text from top to bottom, as somebody who copies them would.
func readme(ts *testscript.TestScript, neg bool, args []string) {
	ran := 0
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		command, is := strings.CutPrefix(strings.TrimRight(line, "\n"), "    minfc ")
		if !is {
			continue
		}
		command, _, _ = strings.Cut(command, " #")
		if strings.Contains(command, "--device") {
			ts.Fatalf("a command of the README names a device: %s", command)
		}
		ts.Logf("minfc %s", command)
		ts.Check(ts.Exec("minfc", strings.Fields(shrunk.Replace(command))...))
		ran++
	}
	if ran < 10 {
		ts.Fatalf("%d commands, wanted those of the README", ran)
	}
}

// drawing leaves what of the last standard output is drawn in braille, as the standard output.
func drawing(ts *testscript.TestScript, neg bool, args []string) {
	var out strings.Builder
	for l := range strings.Lines(ts.ReadFile("stdout")) {
		if dots := strings.Map(func(r rune) rune {
			if r < 0x2800 || r > 0x28ff {
				return -1
			}
			return r
		}, l); dots != "" {
			out.WriteString(dots + "\n")
		}
	}
	fmt.Fprint(ts.Stdout(), out.String())
}

func helper(f func(args []string) error) func() {
	return func() {
		if err := f(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// mkqkv OUT DTYPE B Hq Hk Sq Sk D writes structured tensors.
func mkqkv(args []string) error {
	n, err := ints(args[2:])
	if err != nil {
		return err
	}
	s := qkv.Shape{Batch: n[0], QHeads: n[1], KVHeads: n[2], SeqQ: n[3], SeqK: n[4], HeadDim: n[5]}
	in, err := qkv.Generate(s, abi.DType(args[1]), 3)
	if err != nil {
		return err
	}
	return save(args[0], in.Tensors())
}

// tensors OUT NAME=DTYPE:1,2,3... writes tensors of zeros.
func tensors(args []string) error {
	var ts []safetensors.Tensor
	for _, a := range args[1:] {
		name, rest, _ := strings.Cut(a, "=")
		dtype, dims, _ := strings.Cut(rest, ":")
		shape, err := ints(strings.Split(dims, ","))
		if err != nil {
			return err
		}
		bytes := map[string]int{"U8": 1, "BF16": 2, "F16": 2, "F32": 4}[dtype]
		for _, d := range shape {
			bytes *= d
		}
		ts = append(ts, safetensors.Tensor{Name: name, DType: safetensors.DType(dtype), Shape: shape, Data: make([]byte, bytes)})
	}
	return save(args[0], ts)
}

// showTensors FILE [NAME] lists the tensors, and prints the rows of the last dimension of an U8 tensor.
func showTensors(args []string) error {
	f, err := safetensors.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	for _, name := range f.Names() {
		t, _ := f.Lookup(name)
		fmt.Println(name, t.DType, t.Shape)
		if len(args) < 2 || args[1] != name {
			continue
		}
		data, err := f.Read(name)
		if err != nil {
			return err
		}
		width := t.Shape[len(t.Shape)-1]
		for ; len(data) > 0; data = data[width:] {
			for _, b := range data[:width] {
				fmt.Print(b)
			}
			fmt.Println()
		}
	}
	return nil
}

// damage FILE cut N keeps the first N bytes; damage FILE flip N inverts byte N, from the end if negative; damage FILE nan N makes the last N bytes
// 0xff, which are no numbers in any type.
func damage(args []string) error {
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	switch args[1] {
	case "cut":
		data = data[:n]
	case "nan":
		copy(data[len(data)-n:], bytes.Repeat([]byte{0xff}, n))
	default:
		data[(n+len(data))%len(data)] ^= 0xff
	}
	return os.WriteFile(args[0], data, 0o600)
}

// swapHeads IN OUT exchanges the second and third dimension of all tensors that have four.
func swapHeads(args []string) error {
	f, err := safetensors.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	var out []safetensors.Tensor
	for _, name := range f.Names() {
		t, _ := f.Lookup(name)
		data, err := f.Read(name)
		if err != nil {
			return err
		}
		x := safetensors.Tensor{Name: name, DType: t.DType, Shape: t.Shape, Data: data}
		if s := t.Shape; len(s) == 4 {
			x.Shape, x.Data = []int{s[0], s[2], s[1], s[3]}, nil
			row := len(data) / (s[0] * s[1] * s[2])
			for i := range s[0] * s[2] * s[1] {
				b, r, h := i/(s[1]*s[2]), i/s[1]%s[2], i%s[1]
				from := ((b*s[1]+h)*s[2] + r) * row
				x.Data = append(x.Data, data[from:from+row]...)
			}
		}
		out = append(out, x)
	}
	return save(args[1], out)
}

// takeHeads IN OUT RANK WORLD keeps of each tensor [B, H, ...] the heads that a rank of WORLD has under tensor parallelism: a whole one at least.
func takeHeads(args []string) error {
	n, err := ints(args[2:])
	if err != nil {
		return err
	}
	f, err := safetensors.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	var out []safetensors.Tensor
	for _, name := range f.Names() {
		t, _ := f.Lookup(name)
		data, err := f.Read(name)
		if err != nil {
			return err
		}
		batch, heads := t.Shape[0], t.Shape[1]
		first, own, bytes := n[0]*heads/n[1], max(heads/n[1], 1), len(data)/(batch*heads)
		x := safetensors.Tensor{Name: name, DType: t.DType, Shape: append([]int{batch, own}, t.Shape[2:]...)}
		for b := range batch {
			at := (b*heads + first) * bytes
			x.Data = append(x.Data, data[at:at+own*bytes]...)
		}
		out = append(out, x)
	}
	return save(args[1], out)
}

func save(path string, ts []safetensors.Tensor) error {
	data, err := safetensors.Encode(ts)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

func ints(words []string) ([]int, error) {
	var out []int
	for _, w := range words {
		n, err := strconv.Atoi(w)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}
