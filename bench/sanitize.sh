#!/usr/bin/env bash
# Runs kernels of a target under NVIDIA's compute-sanitizer: sanitize.sh TARGET [TOOL...], on a machine with a GPU and without Go.
# Every line is a tool, a pattern, a head dim, what the tool says at its end and what minfc says of the result. MINFC is the binary,
# bin/minfc unless it is set; JOBS how many run at once; PATTERNS what to run. Ends with 1 if anything was reported.
set -euo pipefail
target=$1; shift
tools=("$@"); [ $# -gt 0 ] || tools=(memcheck racecheck synccheck)
export target minfc=${MINFC:-bin/minfc} inputs
inputs=$(mktemp -d)
trap 'rm -rf "$inputs"' EXIT

# Lengths are odd, so that first and last tiles stick out; two heads share k and v. "plan" is all of the patterns in one launch.
for dim in 16 64 128 192 256; do
  "$minfc" gen --seqlen 999 --heads 2 --kv-heads 1 --head-dim $dim -o "$inputs/$dim.safetensors" >/dev/null
  "$minfc" gen --seqlen 999 --heads 6 --kv-heads 3 --head-dim $dim -o "$inputs/$dim.plan.safetensors" >/dev/null
done
cat > "$inputs/plan.json" <<'END'
{"schema": 1, "layers": [{
  "0": {"pattern": "dense"}, "1": {"pattern": "block_sparse"}, "2": {"pattern": "a_shape"},
  "3": {"pattern": "vertical_slash"}, "4": {"pattern": "columns_window"}, "5": {"pattern": "block_sparse", "params": {"topk": 3}}
}]}
END

one() {
  local tool=$1 pattern=$2 dim=$3 out said subject
  subject=("$pattern" --qkv "$inputs/$dim.safetensors")
  [ "$pattern" != plan ] || subject=(--plan "$inputs/plan.json" --qkv "$inputs/$dim.plan.safetensors")
  out=$(timeout "${LIMIT:-100}" compute-sanitizer --tool "$tool" "$minfc" run "${subject[@]}" \
    --target "$target" --device cuda --no-fallback --check 2>&1) || true
  said=$(grep -E 'SUMMARY' <<< "$out" | sed 's/=* *//' | head -1)
  printf '%-9s %-15s %3d  %s; %s\n' "$tool" "$pattern" "$dim" "${said:-no summary}" "$(grep -Eo '^check +[a-z]+' <<< "$out" | tr -s ' ' || echo no result)"
  [[ $said =~ (: 0 errors|0 hazards) ]] || { [ -z "${DETAILS:-}" ] || printf '%s\n' "$out" > "$DETAILS/$tool.$pattern.$dim.txt"; }
}
export -f one

for tool in "${tools[@]}"; do
  for pattern in ${PATTERNS:-dense a_shape dilated vertical_slash block_sparse columns_window plan}; do
    for dim in 16 64 128 192 256; do echo "$tool $pattern $dim"; done
  done
done | xargs -P "${JOBS:-6}" -L 1 bash -c 'one $0 $1 $2' | sort | tee "$inputs/report"
! grep -vE '(: 0 errors|0 hazards).*; check ok$' "$inputs/report" >/dev/null
