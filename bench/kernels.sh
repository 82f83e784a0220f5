#!/usr/bin/env bash
# Compiles the kernels that the case files of this folder name into bin/kernels, for a machine with a GPU and without Go.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
CGO_ENABLED=0 go build -o bin/minfc ./cmd/minfc
mkdir -p bin/kernels
for pattern in dense full sliding a_shape; do
  for dim in 32 64 96 128 192 256; do
    for dtype in bf16 f16; do
      bin/minfc compile "$pattern" --target sm_80 --head-dim "$dim" --dtype "$dtype" -o "bin/kernels/$pattern$dim$dtype.minf"
    done
  done
done
