#!/usr/bin/env bash
# Prints the path of an nvdisasm: $NVDISASM, the one on the PATH, one fetched before, or one fetched now.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/cuda-fetch.sh"
cuda_tool nvdisasm NVDISASM nvidia-cuda-nvdisasm
