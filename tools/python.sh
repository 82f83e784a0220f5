#!/usr/bin/env bash
# Builds the wheel of python/, installs it in a fresh virtual environment, and runs the tests of python/tests and evals/tests against what
# was installed.
# Prints the size of the wheel and the time to a first result, and fails beyond their limits. It needs Go, a C compiler, and python3 of 3.10
# or later with venv. MINFC_PYTHON_VENV names an environment that has what python/tests/requirements.txt lists: it is used and nothing in it is
# changed. Otherwise what the list has is downloaded: torch has 3 GB, which take a minute or two.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

most_bytes=6000000 most_seconds=10

say() { printf '%s\n' "$*" >&2; }

given=${MINFC_PYTHON_VENV:-}
base=${given:+$given/bin/python}
base=${base:-python3}
"$base" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { say "$base is no Python of 3.10 or later"; exit 1; }
mkdir -p .work
work=$(mktemp -d "$PWD/.work/python.XXXXXX")
root=$PWD
trap 'rm -rf "$work" "$root/python/build"' EXIT
"$base" -m venv "$work/venv" || { say "$base has no venv: install python3-venv"; exit 1; }
python=$work/venv/bin/python
unset MINFC_LIBRARY PYTHONPATH # what was installed is what is tested
if [ -n "$given" ]; then
  site='import site; print(site.getsitepackages()[0])'
  "$base" -c "$site" >"$("$python" -c "$site")/given.pth"
else
  start=$SECONDS
  "$python" -m pip install --quiet --disable-pip-version-check --requirement python/tests/requirements.txt
  echo "torch, transformers, accelerate and pytest were installed in $((SECONDS - start))s"
fi

rm -rf python/build # setuptools packs what lies there, modules that are gone included
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work" ./python
wheel=$(echo "$work"/minfc-*.whl)
bytes=$(stat -c %s "$wheel")
echo "$(basename "$wheel"): $bytes bytes, $most_bytes at most"
[ "$bytes" -le "$most_bytes" ]
"$python" -m pip install --quiet --disable-pip-version-check --no-deps "$wheel"

first='import torch, minfc; q = torch.ones(1, 2, 64, 64).bfloat16(); assert minfc.attention(q, q, q).eq(1).all()'
begin=$(date +%s%N)
MINFC_CACHE=off "$python" -c "$first"
took=$((($(date +%s%N) - begin) / 1000000))
echo "first result on the emulator, by a fresh process: ${took} ms, $((most_seconds * 1000)) at most"
[ "$took" -le $((most_seconds * 1000)) ]

CGO_ENABLED=0 go build -o "$work/minfc" ./cmd/minfc # minfc.search runs it
export MINFC=$work/minfc
(cd python && "$python" -m pytest -q -p no:cacheprovider tests)
PYTHONPATH=evals "$python" -m pytest -q -p no:cacheprovider evals/tests
