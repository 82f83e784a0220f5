#!/usr/bin/env bash
# Vets the gorgonia driver and builds its test program against real CUDA headers.
# The result, bin/gorgonia.test, needs no Go where it runs: copy it to a machine with an NVIDIA driver and start it there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cc=${CC:-cc}
command -v "${cc%% *}" >/dev/null || { echo "no C compiler: the gorgonia driver is cgo; install gcc or clang, or set CC" >&2; exit 1; }

headers=$(tools/cuda-headers.sh)
version=$(sed -nE 's/^#define +CUDA_VERSION +([0-9]+).*/\1/p' "$headers/cuda.h")
if [ "${version:-0}" -ge 13000 ]; then
  echo "the headers in $headers are of CUDA $((version / 1000)); gorgonia.org/cu v0.9.6 needs those of CUDA 12" >&2
  exit 1
fi
stub=$(tools/libcuda-stub.sh "$headers")
export CGO_ENABLED=1 CGO_CFLAGS="-g -O2 -I$headers" CGO_LDFLAGS="-L$stub"

go vet -tags gorgonia ./runtime/gorgonia
go tool staticcheck -tags gorgonia ./runtime/gorgonia
go test -tags gorgonia -c -o bin/gorgonia.test ./runtime/gorgonia
echo "built bin/gorgonia.test"
