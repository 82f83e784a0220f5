#!/usr/bin/env bash
# Compiles the kernels that the case files of this folder name, bin/kernels/TARGET/NAME.minf, for a machine with a GPU and without Go.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
CGO_ENABLED=0 go build -o bin/minfc ./cmd/minfc
cat bench/*_speed.cases bench/*_agree.cases bench/*_lists.cases | cut -d: -f1,5-7 | sort -u | while IFS=: read -r pattern dim dtype files; do
  for file in ${files//,/ }; do
    mkdir -p "$(dirname "$file")"
    bin/minfc compile "$pattern" --target "$(basename "$(dirname "$file")")" --head-dim "$dim" --dtype "$dtype" -o "$file"
  done
done
