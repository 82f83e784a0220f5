package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
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
	return row{kernel{pattern: "dense", dtype: "bf16", headDim: dim, threads: 128, dynamicShared: 49152}, "sm_80", resources{registers: 168, stack: stack}}
}

func TestLocalMemoryIsAllowedOnlyAboveHeadDim128(t *testing.T) {
	require.NoError(t, complaints([]row{sampleRow(128, 0), sampleRow(256, 64)}))
	err := complaints([]row{sampleRow(64, 8), sampleRow(128, 16)})
	require.ErrorContains(t, err, "dense bf16 d64 sm_80")
	require.ErrorContains(t, err, "dense bf16 d128 sm_80")
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

	good := kernel{pattern: "dense", dtype: "f16", headDim: 64, entry: "attention", ptx: []byte("good")}
	rows, err := assembleAll(context.Background(), a, []kernel{good, good}, 2)
	require.NoError(t, err)
	require.Len(t, rows, 4)
	require.Equal(t, "dense f16 d64 sm_90", rows[1].key())
	require.Equal(t, 253, rows[3].registers)

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
	good := kernel{pattern: "dense", dtype: "f16", headDim: 64, llvm: "good"}
	require.NoError(t, acceptAll(context.Background(), llc{path}, []kernel{good}, 2))
	bad := kernel{pattern: "sliding", dtype: "bf16", headDim: 96, llvm: "bad"}
	err := acceptAll(context.Background(), llc{path}, []kernel{good, bad}, 2)
	require.ErrorContains(t, err, "sliding bf16 d96 sm_80")
	require.ErrorContains(t, err, "expected instruction opcode")
	require.NotContains(t, err.Error(), "d64")
}
