#!/usr/bin/env bash
# Measures patterns that data decides: dynamic.sh TARGET FOLDER writes a report for each line of dynamic.cases, on a machine with a GPU
# and without Go. MINFC is the binary, bin/minfc unless it is set.
set -euo pipefail
target=$1 folder=$2 minfc=$(realpath "${MINFC:-bin/minfc}") cases=$(realpath "$(dirname "${BASH_SOURCE[0]}")/dynamic.cases")
series=${target/_/} series=${series%a} # sm_90a: sm90
cd "$folder" # so that the reports name no folder of this machine
while read -r name args; do
  read -ra args <<< "$args"
  "$minfc" bench "${args[@]}" --target "$target" --seconds 2 --no-vs-dense --json "${series}_dynamic_$name.json" </dev/null
done < "$cases"
