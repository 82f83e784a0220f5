#!/usr/bin/env bash
# Prints the folder that holds cuda.h: $CUDA_HEADERS, one fetched before, or one fetched now.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/cuda-fetch.sh"

wheel=nvidia-cuda-runtime-cu12
debian=nvidia-cuda-dev

offer() { if [ -n "$1" ] && [ -f "$1" ]; then dirname "$1"; exit 0; fi; }

if [ -n "${CUDA_HEADERS:-}" ]; then
  offer "$CUDA_HEADERS/cuda.h"
  say "CUDA_HEADERS is $CUDA_HEADERS, which has no cuda.h; name the include folder of a CUDA toolkit, or unset it"
  exit 1
fi
offer "$(cached "$wheel" '*/include/cuda.h')"
offer "$(cached "$debian" '*/include/cuda.h')"

say "fetching cuda.h: the wheel $wheel"
if fetch_wheel "$wheel"; then offer "$(cached "$wheel" '*/include/cuda.h')"; fi
say "fetching cuda.h: Debian's package $debian (900 MB)"
if fetch_debian "$debian" '*/include/cuda.h'; then offer "$(cached "$debian" '*/include/cuda.h')"; fi

say "no cuda.h: neither pip nor apt gave one; install the CUDA toolkit, or set CUDA_HEADERS to its include folder"
exit 1
