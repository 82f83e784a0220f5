package ptxgen

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/llir/llvm/ir/types"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
)

// ldgElements are the element types of the overloaded pointers, by the end of the name.
var ldgElements = map[string]string{
	"p1i32": "i32", "p1i64": "i64", "p1f32": "float", "p1v2i32": "<2 x i32>", "p1v4i32": "<4 x i32>",
	"p1v2f32": "<2 x float>", "p1v4f32": "<4 x float>",
}

// intrinsicKernel writes a kernel that calls one row with its parameters and stores the first result.
func intrinsicKernel(r *intrinsic, n int) (decl, kernel, note string) {
	var params, sig, args, decls, body []string
	for i, t := range r.params {
		text, letter := t.String(), r.letter(i)
		if elem := ldgElements[r.name[strings.LastIndexByte(r.name, '.')+1:]]; elem != "" && letter == 'g' {
			text = elem + " addrspace(1)*"
		}
		decls = append(decls, text)
		arg := fmt.Sprintf("%%a%d", i)
		switch letter {
		case 'n':
			args = append(args, text+" 16")
			continue
		case 'b':
			args = append(args, text+" false")
			continue
		case 's', 'p', 'h': // not parameters of kernels: made from an i32
			params, sig = append(params, "i32 "+arg+"_i"), append(sig, "i32")
			conv := map[byte]string{'s': "inttoptr", 'p': "trunc", 'h': "bitcast"}[letter]
			body = append(body, fmt.Sprintf("  %s = %s i32 %s_i to %s", arg, conv, arg, text))
		default:
			params, sig = append(params, text+" "+arg), append(sig, text)
		}
		args = append(args, text+" "+arg)
	}
	call := fmt.Sprintf("call %s @%s(%s)", r.result, r.name, strings.Join(args, ", "))
	if types.IsVoid(r.result) {
		body = append(body, "  "+call)
	} else {
		body = append(body, "  %r = "+call)
		params, sig = append(params, "i32 addrspace(1)* %out"), append(sig, "i32 addrspace(1)*")
		body = append(body, storeFirst(r.result)...)
	}
	decl = fmt.Sprintf("declare %s @%s(%s)\n", r.result, r.name, strings.Join(decls, ", "))
	kernel = fmt.Sprintf("define void @k%d(%s) {\nentry:\n%s\n  ret void\n}\n", n, strings.Join(params, ", "), strings.Join(body, "\n"))
	return decl, kernel, fmt.Sprintf("!%d = !{void (%s)* @k%d, !\"kernel\", i32 1}\n", n, strings.Join(sig, ", "), n)
}

// storeFirst stores the first part of %r to %out.
func storeFirst(t types.Type) []string {
	first, from := "%r", t
	var lines []string
	switch t := t.(type) {
	case *types.StructType:
		lines, first, from = append(lines, fmt.Sprintf("  %%e = extractvalue %s %%r, 0", t)), "%e", t.Fields[0]
	case *types.VectorType:
		lines, first, from = append(lines, fmt.Sprintf("  %%e = extractelement %s %%r, i32 0", t)), "%e", t.ElemType
	}
	if from.Equal(types.I1) {
		return append(lines, "  %z = zext i1 "+first+" to i32", "  store i32 %z, i32 addrspace(1)* %out")
	}
	return append(lines, fmt.Sprintf("  %%o = bitcast i32 addrspace(1)* %%out to %s addrspace(1)*", from),
		fmt.Sprintf("  store %s %s, %s addrspace(1)* %%o", from, first, from))
}

// TestIntrinsics keeps ok/intrinsics.txtar equal to the table: one kernel a row. The other tests then check that LLVM
// knows the names and signatures, and that ptxas takes the text.
func TestIntrinsics(t *testing.T) {
	var names []string
	for name, r := range intrinsics {
		names = append(names, name)
		require.NotContains(t, string(r.tmpl), "internal:", name)
	}
	sort.Strings(names)
	var decls, kernels, notes, list strings.Builder
	for n, name := range names {
		decl, kernel, note := intrinsicKernel(intrinsics[name], n)
		decls.WriteString(decl)
		kernels.WriteString(kernel)
		notes.WriteString(note)
		if n > 0 {
			list.WriteString(", ")
		}
		fmt.Fprintf(&list, "!%d", n)
	}
	text := decls.String() + kernels.String() + "!nvvm.annotations = !{" + list.String() + "}\n" + notes.String()
	path := filepath.Join(goldenDir, "ok", "intrinsics.txtar")
	a := &txtar.Archive{Comment: []byte("Every intrinsic of the table, one kernel each; written by TestIntrinsics.\n")}
	a.Files = []txtar.File{{Name: "in.ll", Data: []byte(text)}, {Name: "out.ptx", Data: []byte(compileText(t, text))}}
	if *update {
		require.NoError(t, os.WriteFile(path, txtar.Format(a), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(txtar.Format(a)), "run with -update to accept")
}
