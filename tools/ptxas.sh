#!/usr/bin/env bash
# Prints the path of a ptxas: $PTXAS, the one on the PATH, one fetched before, or one fetched now.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/cuda-fetch.sh"

wheel=nvidia-cuda-nvcc-cu12
debian=nvidia-cuda-toolkit

usable() { [ -n "$1" ] && chmod +x "$1" 2>/dev/null || true; [ -x "$1" ] && "$1" --version >/dev/null 2>&1; }

offer() { if usable "$1"; then printf '%s\n' "$1"; exit 0; fi; }

if [ -n "${PTXAS:-}" ]; then
  offer "$PTXAS"
  say "PTXAS is $PTXAS, which does not run; point it at a ptxas of CUDA 12.4 or newer, or unset it"
  exit 1
fi
offer "$(command -v ptxas || true)"
offer "$(cached "$wheel" '*/bin/ptxas')"
offer "$(cached "$debian" '*/bin/ptxas')"

say "fetching ptxas: the wheel $wheel"
if fetch_wheel "$wheel"; then offer "$(cached "$wheel" '*/bin/ptxas')"; fi
say "fetching ptxas: Debian's package $debian"
if fetch_debian "$debian" '*/bin/ptxas'; then offer "$(cached "$debian" '*/bin/ptxas')"; fi

say "no ptxas: neither pip nor apt gave one; install the CUDA toolkit (12.4 or newer), or set PTXAS to its ptxas"
exit 1
