#!/usr/bin/env bash
# How long minfc search takes on a GPU, and how near its predictions are: 30 layers of 9 heads at head dim 64 and 32 layers of 32 heads at head
# dim 128, both of 32K tokens made on the device, and the second again from files. Needs bin/minfc (CGO_ENABLED=0 go build -o bin/minfc ./cmd/minfc)
# and, for the files, 13 GB of disk.   bench/search.sh OUT [small|large|files|minference]...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$1
shift
mkdir -p "$out"
small=(--layers 30 --heads 9 --kv-heads 3 --head-dim 64)
large=(--layers 32 --heads 32 --kv-heads 8 --head-dim 128)

timed() { # timed NAME COMMAND...: the command's output and the seconds that it took
  local name=$1 start end
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  start=$(date +%s.%N)
  "$@"
  end=$(date +%s.%N)
  awk -v a="$start" -v b="$end" 'BEGIN {printf "took     %.1f s\n", b - a}'
}

search() { # search NAME INPUTS...: a search that measures, then others that find everything measured
  local name=$1 plan="$out/$1.json"
  shift
  timed "$name" bin/minfc search --device cuda "$@" --density 0.1 --check -o "$plan"
  timed "$name, a fifth of the time" bin/minfc search --device cuda "$@" --time 0.2x --check -o "$plan"
  timed "$name, an error" bin/minfc search --device cuda "$@" --error 0.05 -o "$plan"
  bin/minfc plan show "$plan" --plot "$out/$name.svg"
}

for part in "${@:-small}"; do
  case $part in
    small) search small --gen mixed --seqlen 32k "${small[@]}" ;;
    large) search large --gen mixed --seqlen 32k "${large[@]}" ;;
    files)
      dumps=$(mktemp -d)
      trap 'rm -rf "$dumps"' EXIT
      files=()
      for i in $(seq 1 32); do
        bin/minfc gen --kind mixed --seqlen 32k --heads 32 --kv-heads 8 --head-dim 128 --seed "$i" -o "$dumps/$i.safetensors" >/dev/null
        files+=(--qkv "$dumps/$i.safetensors")
      done
      timed "files" bin/minfc search --device cuda "${files[@]}" --density 0.1 -o "$out/files.json" ;;
    minference) timed "MInference's rule" bin/minfc search --device cuda --gen mixed --seqlen 32k "${small[@]}" --rule minference --density 0.1 --check -o "$out/minference.json" ;;
    *) echo "there is no part $part, want small, large, files or minference" >&2; exit 2 ;;
  esac
done
