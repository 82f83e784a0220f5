#!/usr/bin/env bash
# Compares patterns that data decides with float64 on the GPU, choices and outputs: dynamic_check.sh TARGET runs the lines of
# dynamic_check.cases, which are: tokens, q heads, kv heads, head dim, type, pattern, structure of the inputs. MINFC is the binary,
# bin/minfc unless it is set; LENGTHS, an extended regular expression, says which lengths to run.
set -euo pipefail
target=$1 minfc=${MINFC:-bin/minfc} cases=$(dirname "${BASH_SOURCE[0]}")/dynamic_check.cases
inputs=$(mktemp -d)
trap 'rm -rf "$inputs"' EXIT
bad=0
while read -r n heads kv dim dtype pattern kind; do
  [[ $n =~ ^(${LENGTHS:-.*})$ ]] || continue
  "$minfc" gen --kind "$kind" --seqlen "$n" --heads "$heads" --kv-heads "$kv" --head-dim "$dim" --dtype "$dtype" -o "$inputs/x" >/dev/null
  if out=$("$minfc" run "$pattern" --qkv "$inputs/x" --target "$target" --device cuda --no-fallback --check 2>&1 </dev/null); then :; else bad=1; fi
  printf '%s, %s on %s heads, head dim %s, %s, %s:\n' "$pattern" "$n" "$heads/$kv" "$dim" "$dtype" "$kind"
  grep -E '^(check|chosen) |error' <<< "$out" | sed 's/^/    /' || { echo "    no result"; bad=1; }
done < "$cases"
exit $bad
