#!/usr/bin/env bash
# Prints the path of a ptxas: $PTXAS, the one on the PATH, one fetched before, or one fetched now.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/cuda-fetch.sh"
cuda_tool ptxas PTXAS nvidia-cuda-nvcc-cu12
