package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/patterns"
)

const report = `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'attention' for 'sm_80'
ptxas info    : Function properties for attention
    24 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 253 registers, used 1 barriers, 1024 bytes smem, 472 bytes cmem[0]
`

func TestParseResources(t *testing.T) {
	r, err := parseResources(report, "attention")
	require.NoError(t, err)
	require.Equal(t, resources{registers: 253, stack: 24, spillStores: 12, spillLoads: 16, shared: 1024}, r)
}

func TestParseResourcesRefusesOtherReports(t *testing.T) {
	_, err := parseResources(report, "other")
	require.ErrorContains(t, err, `no entry function "other"`)
	_, err = parseResources("Compiling entry function 'x' for 'sm_80'", "x")
	require.ErrorContains(t, err, "registers")
}

func sampleRow(dim, stack int) row {
	k := kernel{pattern: "dense", dtype: "bf16", target: "sm_80", headDim: dim, threads: 128, dynamicShared: 49152}
	return row{k, "sm_80", resources{registers: 168, stack: stack}}
}

func TestLocalMemoryIsAllowedOnlyAboveHeadDim128OnSM80(t *testing.T) {
	require.NoError(t, complaints([]row{sampleRow(128, 0), sampleRow(256, 64)}))
	hopper := sampleRow(256, 64)
	hopper.target, hopper.arch = "sm_90a", "sm_90a"
	require.ErrorContains(t, complaints([]row{hopper}), "dense bf16 d256 sm_90a: 0 bytes of spill stores, 0 of spill loads, 64 of stack")
	err := complaints([]row{sampleRow(64, 8), sampleRow(128, 16)})
	require.ErrorContains(t, err, "dense bf16 d64 sm_80")
	require.ErrorContains(t, err, "dense bf16 d128 sm_80")
}

// What ptxas gives up is an information to it, and its exit code is 0.
func TestLossesOfPerformanceAreComplaints(t *testing.T) {
	const loss = "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to X in function attention"
	r := sampleRow(64, 0)
	var err error
	r.resources, err = parseResources(loss+"\n"+strings.ReplaceAll(report, "24 bytes stack frame, 12 bytes spill stores, 16",
		"0 bytes stack frame, 0 bytes spill stores, 0"), "attention")
	require.NoError(t, err)
	require.EqualError(t, complaints([]row{r}), "dense bf16 d64 sm_80: "+loss)
}

func TestKernelsThatDifferInUnreadParametersAreCheckedOnce(t *testing.T) {
	ptx := func(param, read string) []byte {
		return []byte(".visible .entry attention(\n\t.param .u64 attention_q,\n\t.param .u32 attention_p_" + param + "\n)\n{\n\tld.param.u64 %rd1, [attention_" + read + "];\n}\n")
	}
	var all collected
	for i, text := range [][]byte{ptx("slash", "q"), ptx("window", "q"), ptx("window", "p_window")} {
		all.add("", []kernel{{headDim: i, ptx: text}}, nil)
	}
	var kept []int
	for _, k := range all.kernels {
		kept = append(kept, k.headDim)
	}
	require.Equal(t, []int{0, 2}, kept)
}

// Every pattern is compiled for every target, at the widest head dim of each shape, in both types.
func TestEveryPatternIsCheckedForEveryTarget(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the library for every target")
	}
	seen := map[string]bool{}
	for _, pattern := range append(patterns.Names(), ruleNames...) {
		for _, dtype := range abi.DTypes() {
			kernels, err := compiled(pattern, dtype, 128)
			require.NoError(t, err)
			for _, k := range kernels {
				seen[fmt.Sprintln(pattern, dtype, k.target)] = true
				require.Contains(t, string(k.ptx), ".target "+k.target+"\n")
				require.NotEmpty(t, archs[k.target])
			}
			for _, target := range compile.Targets() {
				require.True(t, seen[fmt.Sprintln(pattern, dtype, target)], "%s %s %s", pattern, dtype, target)
			}
		}
	}
}

func TestCompareShowsTheRowThatChanged(t *testing.T) {
	golden := filepath.Join(t.TempDir(), "new folder", "resources.txt")
	_, err := compare(golden, "12.4.131", "")
	require.ErrorContains(t, err, "-update")
	before := []row{sampleRow(64, 0), sampleRow(128, 0)}
	require.NoError(t, update(golden, render("12.4.131", before)))

	note, err := compare(golden, "12.4.131", render("12.4.131", before))
	require.NoError(t, err)
	require.Empty(t, note)

	after := []row{sampleRow(64, 0), sampleRow(128, 0)}
	after[1].dynamicShared = 1234567 // wider than its column was
	_, err = compare(golden, "12.4.131", render("12.4.131", after))
	require.ErrorContains(t, err, "1234567")
	require.NotContains(t, err.Error(), "  64  ", "the row that did not change is not shown")

	note, err = compare(golden, "13.0.48", render("13.0.48", after))
	require.NoError(t, err)
	require.Contains(t, note, "not compared")
}

// fakeAssembler stands for ptxas: it rejects PTX with the word bad and reports on anything else.
func fakeAssembler(t *testing.T) assembler {
	path := filepath.Join(t.TempDir(), "ptxas")
	script := `#!/bin/sh
if [ "$1" = --version ]; then echo "Cuda compilation tools, release 12.4, V12.4.131"; exit 0; fi
for file; do :; done
if grep -q bad "$file"; then echo "$file, line 1; fatal : Parsing error" >&2; exit 255; fi
cat >&2 <<END
` + report + `END
`
	require.NoError(t, os.WriteFile(path, []byte(script), 0o755))
	return assembler{path}
}

func TestAssembleAll(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	a := fakeAssembler(t)
	version, err := a.version()
	require.NoError(t, err)
	require.Equal(t, "12.4.131", version)

	good := kernel{pattern: "dense", dtype: "f16", target: "sm_80", headDim: 64, entry: "attention", ptx: []byte("good")}
	rows, err := assembleAll(context.Background(), a, []kernel{good, good}, 2)
	require.NoError(t, err)
	require.Len(t, rows, 4)
	require.Equal(t, "dense f16 d64 sm_90", rows[1].key())
	require.Equal(t, 253, rows[3].registers)

	hopper := good
	hopper.target = "sm_90a"
	rows, err = assembleAll(context.Background(), a, []kernel{hopper}, 2)
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Equal(t, "dense f16 d64 sm_90a", rows[0].key(), "it runs on nothing else")

	bad := good
	bad.headDim, bad.ptx = 96, []byte("bad")
	_, err = assembleAll(context.Background(), a, []kernel{good, bad}, 2)
	require.ErrorContains(t, err, "dense f16 d96 sm_80")
	require.ErrorContains(t, err, "Parsing error")
	require.NotContains(t, err.Error(), "d64", "good kernels are not blamed")
}

func TestAcceptAllNamesTheKernelThatLLVMRejects(t *testing.T) {
	path := filepath.Join(t.TempDir(), "llc")
	script := "#!/bin/sh\nif grep -q bad; then echo 'error: expected instruction opcode' >&2; exit 1; fi\n"
	require.NoError(t, os.WriteFile(path, []byte(script), 0o755))
	good := kernel{pattern: "dense", dtype: "f16", target: "sm_80", headDim: 64, llvm: "good"}
	require.NoError(t, acceptAll(context.Background(), llc{path}, []kernel{good}, 2))
	bad := kernel{pattern: "sliding", dtype: "bf16", target: "sm_80", headDim: 96, llvm: "bad"}
	err := acceptAll(context.Background(), llc{path}, []kernel{good, bad}, 2)
	require.ErrorContains(t, err, "sliding bf16 d96 sm_80")
	require.ErrorContains(t, err, "expected instruction opcode")
	require.NotContains(t, err.Error(), "d64")
}
