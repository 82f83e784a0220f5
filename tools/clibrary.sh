#!/usr/bin/env bash
# Builds the C library and the program of examples/c into bin/, for this machine and for aarch64, and runs the program on the emulator.
# The cross compiler, and qemu to run what it makes, come with Debian's apt where they are not installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }

build() { # build FOLDER COMPILER: the library and the program
  CGO_ENABLED=1 CC=$2 go build -buildmode=c-shared -ldflags '-s -w' -o "$1/libminfc.so" ./capi
  "$2" -std=c11 -Wall -Wextra -Werror -Icapi examples/c/attention.c "$1/libminfc.so" -Wl,-rpath,'$ORIGIN' -o "$1/attention"
  echo "$1/libminfc.so: $(stat -c %s "$1/libminfc.so") bytes stripped, $(gzip -c "$1/libminfc.so" | wc -c) as gzip"
}

install_cross() { # tries; says nothing when it works
  command -v apt-get >/dev/null || return 0
  { apt-get update && apt-get install -y gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user; } >&2 ||
    say "apt does not give the cross compiler"
}

cc=${CC:-cc}
command -v "$cc" >/dev/null || { say "no C compiler: the C library is cgo; install gcc or clang, or set CC"; exit 1; }
build bin "$cc"
here=$(bin/attention emu)
printf '%s\n' "$here"

[ "$(go env GOARCH)" = amd64 ] || exit 0
{ command -v aarch64-linux-gnu-gcc && command -v qemu-aarch64; } >/dev/null || install_cross
if ! command -v aarch64-linux-gnu-gcc >/dev/null; then
  say "NOT CHECKED: the C library for aarch64, for want of aarch64-linux-gnu-gcc; all else is built for it"
  CGO_ENABLED=0 GOARCH=arm64 go vet ./...
  exit 0
fi
export GOARCH=arm64
build bin/arm64 aarch64-linux-gnu-gcc
if ! command -v qemu-aarch64 >/dev/null; then
  say "NOT RUN: the program for aarch64, for want of qemu-aarch64"
elif there=$(qemu-aarch64 -L /usr/aarch64-linux-gnu bin/arm64/attention emu) && [ "$here" = "$there" ]; then
  echo "the program for aarch64 prints the same"
else
  say "the program for aarch64 prints: ${there:-}"
  exit 1
fi
