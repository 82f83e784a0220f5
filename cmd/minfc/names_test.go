package main

import (
	"testing"

	"github.com/stretchr/testify/require"
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
		var got targetName
		require.ErrorContains(t, got.UnmarshalText([]byte(name)), want, name)
	}
	for _, name := range []string{"auto", "sm_80", "sm_90a"} {
		var got targetName
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
		var got dtypeName
		err := got.UnmarshalText([]byte(name))
		require.ErrorContains(t, err, want, name)
		require.ErrorContains(t, err, `dtype must be one of "bf16","f16" but got`)
	}
	var got dtypeName
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
	var s setting
	require.NoError(t, s.UnmarshalText([]byte("window=4k")))
	require.Equal(t, setting{"window", 4096}, s)
	require.ErrorContains(t, s.UnmarshalText([]byte("window=4g")), `the value of window is "4g", want an integer such as 4096, 4k (4096) or 1m (1048576)`)
	require.ErrorContains(t, s.UnmarshalText([]byte("window=")), `the value of window is "", want an integer`)
}
