#!/usr/bin/env bash
# Vets the gorgonia driver and its example and builds both against real CUDA headers: bin/gorgonia.test and bin/gorgonia-example. They need no Go
# where they run: copy them to a machine with an NVIDIA driver and start them there. What needs no GPU runs here, on the stand-in for the
# driver's library that the tests of runtime/cuda have.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

cc=${CC:-cc}
command -v "${cc%% *}" >/dev/null || { echo "no C compiler: the gorgonia driver is cgo; install gcc or clang, or set CC" >&2; exit 1; }

headers=$(tools/cuda-headers.sh)
version=$(sed -nE 's/^#define +CUDA_VERSION +([0-9]+).*/\1/p' "$headers/cuda.h")
if [ "${version:-0}" -ge 13000 ]; then
  echo "the headers in $headers are of CUDA $((version / 1000)); gorgonia.org/cu v0.9.6 needs those of CUDA 12" >&2
  exit 1
fi
stub=$(tools/libcuda-stub.sh "$headers")
export CGO_ENABLED=1 CGO_CFLAGS="-g -O2 -I$headers" CGO_LDFLAGS="-L$stub"

go vet -tags gorgonia ./runtime/gorgonia ./examples/gorgonia
go tool staticcheck -tags gorgonia ./runtime/gorgonia ./examples/gorgonia
go test -tags gorgonia -c -o bin/gorgonia.test ./runtime/gorgonia
go build -tags gorgonia -o bin/gorgonia-example ./examples/gorgonia
echo "built bin/gorgonia.test and bin/gorgonia-example"

# The build flags that would give each thread a default stream of its own are refused.
if perthread=$(CGO_CFLAGS="$CGO_CFLAGS -DCUDA_API_PER_THREAD_DEFAULT_STREAM" go build -tags gorgonia ./runtime/gorgonia 2>&1) ||
  ! grep -q 'goroutines move between threads' <<<"$perthread"; then
  printf 'the driver takes CUDA_API_PER_THREAD_DEFAULT_STREAM: %s\n' "$perthread" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

on_standin() { # on_standin "OPTION..." COMMAND...: runs a program on a stand-in, whose source says what the options are
  local options=$1 lacks='^$'
  shift
  case $options in *-DNO_TENSOR_MAPS*) lacks=cuTensorMapEncodeTiled ;; esac
  grep -v "$lacks" "$stub/stub.c" >"$work/stub.c"
  # shellcheck disable=SC2086 # options are words
  $cc -shared -fPIC -Wl,-soname,libcuda.so.1 $options -o "$work/libcuda.so.1" "$root/runtime/cuda/testdata/libcuda.c" "$work/stub.c"
  LD_LIBRARY_PATH=$work MINFC_CACHE=off "$@"
}

tests() { # tests "OPTION..." ARGUMENT...: tests of which at least one must pass
  local out options=$1
  shift
  out=$(cd runtime/gorgonia && on_standin "$options" "$root/bin/gorgonia.test" -test.v "$@" 2>&1) || { grep -v '^=== ' <<<"$out" | head -n 100 >&2; exit 1; }
  grep -E '^--- PASS' <<<"$out" || { printf 'no test of %s ran\n%s\n' "$*" "$out" >&2; exit 1; }
}

echo "tests on the stand-in:"
tests "-DLINKER -DGPUS=90,80" -test.skip 'TestStandIn(OldDriver|FailedLaunch)'
tests "-DLINKER -DGPUS=90 -DCUDA=11080 -DNO_TENSOR_MAPS" -test.run TestStandInOldDriver
tests "-DLINKER -DGPUS=90 -DLAUNCH=700" -test.run TestStandInFailedLaunch

# The stand-in computes nothing, and the example notices.
if out=$(on_standin "-DLINKER -DGPUS=90" bin/gorgonia-example 2>&1) || ! grep -q 'row 0 of head 0 is wrong' <<<"$out"; then
  printf 'the example does not see a wrong result: %s\n' "$out" >&2
  exit 1
fi
echo "the example runs to its check, and sees that a stand-in computes nothing: $out"
