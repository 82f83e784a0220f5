#!/usr/bin/env bash
# Prints a folder with a libcuda.so to link against on a machine without the NVIDIA driver. Its functions, named after the
# header's declarations, only answer CUDA_ERROR_STUB_LIBRARY; the soname makes linked programs load the real driver.
# They are weak: tools/gorgonia.sh compiles its source, stub.c beside the library, together with the stand-in of the tests.
# usage: libcuda-stub.sh HEADERS   (HEADERS: the folder with cuda.h)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/cuda-fetch.sh"

headers=${1:?usage: libcuda-stub.sh HEADERS}
folder=$cache/libcuda-stub
mkdir -p "$folder"
# Preprocessed, so that cuMemAlloc is already the cuMemAlloc_v2 that compiled code asks for.
printf '#include <cuda.h>\n' | "${CC:-cc}" -E -P -I "$headers" - |
  grep -oE '\bcu[A-Z][A-Za-z0-9_]*[[:space:]]*\(' | tr -d ' (' | sort -u |
  sed 's/.*/__attribute__((weak)) int &(void) { return 34; }/' >"$folder/stub.c"
[ -s "$folder/stub.c" ] || { say "found no functions in $headers/cuda.h"; exit 1; }
"${CC:-cc}" -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$folder/libcuda.so" "$folder/stub.c"
printf '%s\n' "$folder"
