package flags

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/failure"
)

func TestTargetsOfOtherPrograms(t *testing.T) {
	for name, want := range map[string]string{
		"sm_89":      `but got "sm_89": sm_80 code runs on GPUs of compute capability 8.9, give --target sm_80 or auto`,
		"sm_86":      "sm_80 code runs on GPUs of compute capability 8.6",
		"8.6":        "sm_80 code runs on GPUs of compute capability 8.6",
		"sm_100":     "sm_80 code runs on GPUs of compute capability 10.0",
		"sm_100a":    "sm_80 code runs on GPUs of compute capability 10.0",
		"sm_120":     "sm_80 code runs on GPUs of compute capability 12.0",
		"12.1":       "sm_80 code runs on GPUs of compute capability 12.1",
		"sm_90":      "sm_90a code is for GPUs of compute capability 9.0, and sm_80 code runs there as well; give --target sm_90a or auto",
		"SM_90A":     "give --target sm_90a",
		"compute_80": "give --target sm_80",
		"sm80":       "give --target sm_80",
		"sm_75":      "no target runs on GPUs of compute capability 7.5, sm_80 code runs on 8.0 and every later one",
		"sm_70":      "no target runs on GPUs of compute capability 7.0",
		"autto":      "did you mean auto?",
		"h100":       `target must be one of "auto","sm_80","sm_90a" but got "h100"`,
	} {
		var got Target
		require.ErrorContains(t, got.UnmarshalText([]byte(name)), want, name)
	}
	for _, name := range []string{"auto", "sm_80", "sm_90a"} {
		var got Target
		require.NoError(t, got.UnmarshalText([]byte(name)))
		require.Equal(t, name, string(got))
	}
}

func TestTypesOfOtherPrograms(t *testing.T) {
	const f16, bf16, none = "did you mean f16?", "did you mean bf16?", "kernels take 16-bit inputs alone, convert q, k and v to bf16 or f16"
	for name, want := range map[string]string{
		"fp16": f16, "float16": f16, "half": f16, "F16": f16, "torch.float16": f16,
		"bfloat16": bf16, "BF16": bf16, "torch.bfloat16": bf16, "bfloat": bf16,
		"fp32": none, "float32": none, "f32": none, "float": none, "tf32": none, "fp8": none, "f8": none, "e4m3": none, "fp8_e4m3": none,
		"float8_e5m2": none, "int8": none, "double": none, "F8_E4M3": none, "f64": none, "nvfp4": none,
	} {
		var got DType
		err := got.UnmarshalText([]byte(name))
		require.ErrorContains(t, err, want, name)
		require.ErrorContains(t, err, `dtype must be one of "bf16","f16" but got`)
	}
	var got DType
	require.EqualError(t, got.UnmarshalText([]byte("x")), `dtype must be one of "bf16","f16" but got "x"`)
	require.NoError(t, got.UnmarshalText([]byte("f16")))
}

func TestCounts(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "4096": 4096, "4k": 4096, "4K": 4096, "1m": 1 << 20, "-1": -1, "-1k": -1024, "2000000000": 2e9} {
		n, err := parseCount(text)
		require.NoError(t, err, text)
		require.Equal(t, want, n, text)
	}
	for _, text := range []string{"", "k", "1.5k", "1e3", "4kk", "4g", " 4", "0x10", "9223372036854775807k", "--1", "1_000"} {
		_, err := parseCount(text)
		require.Error(t, err, "%q", text)
	}
	var s Setting
	require.NoError(t, s.UnmarshalText([]byte("window=4k")))
	require.Equal(t, Setting{"window", 4096}, s)
	require.ErrorContains(t, s.UnmarshalText([]byte("window=4g")), `the value of window is "4g", want an integer such as 4096, 4k (4096) or 1m (1048576)`)
	require.ErrorContains(t, s.UnmarshalText([]byte("window=")), `the value of window is "", want an integer`)
}

func TestEmissions(t *testing.T) {
	var e Emission
	require.NoError(t, e.UnmarshalText([]byte("ptx")))
	require.Equal(t, Emission{"ptx", "-"}, e)
	require.NoError(t, e.UnmarshalText([]byte("llvm=a=b")))
	require.Equal(t, Emission{"llvm", "a=b"}, e)
	require.EqualError(t, e.UnmarshalText([]byte("ptx=")), `no path after "ptx="`)
	require.ErrorContains(t, e.UnmarshalText([]byte("ptxx")), "did you mean ptx?")
}

func TestValuesAreGivenOnce(t *testing.T) {
	got, err := Values([]Setting{{"a", 1}, {"b", 2}})
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"a": 1, "b": 2}, got)
	_, err = Values([]Setting{{"a", 1}, {"a", 1}})
	require.EqualError(t, err, "--set a is given twice")
	require.Equal(t, failure.ExitUsage, failure.ExitCode(err))
}

func TestPasses(t *testing.T) {
	var p Pass
	require.NoError(t, p.UnmarshalText([]byte("tile")))
	require.True(t, p.Names("tile"))
	require.False(t, p.Names("split"))
	require.NoError(t, p.UnmarshalText([]byte("all")))
	require.True(t, p.Names("split"))
	require.ErrorContains(t, p.UnmarshalText([]byte("tyle")), `no pass "tyle", want all or one of consts, `)
}

// Every value that a flag lists for completion is one that it takes.
func TestWordsAreTaken(t *testing.T) {
	for flag, take := range map[string]func([]byte) error{
		"target": new(Target).UnmarshalText, "dtype": new(DType).UnmarshalText, "emit": new(Emission).UnmarshalText, "print-after": new(Pass).UnmarshalText,
	} {
		require.NotEmpty(t, Words()[flag], flag)
		for _, word := range Words()[flag] {
			require.NoError(t, take([]byte(word)), "--%s %s", flag, word)
		}
	}
}
