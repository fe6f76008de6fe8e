#!/usr/bin/env bash
# Installs the Debian packages of the build that are missing; touches nothing when all are there.
# usage: apt.sh [--lint]   (with --lint also those of `make format` and `make lint`)
source "$(dirname "$0")/common.sh"

wanted=$APT_BUILD
[ "${1:-}" = --lint ] && wanted="$wanted $APT_LINT"

command -v dpkg-query >/dev/null || {
  say "not a Debian system; please install yourself: $wanted, llvm and lld ${LLVM_VERSIONS// / or }"
  exit 0
}
installed() { dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }
available() { [ -n "$(apt-cache madison "$1" 2>/dev/null)" ]; }

missing=()
for package in $wanted; do
  installed "$package" || missing+=("$package")
done
llvm=""
for version in $LLVM_VERSIONS; do
  installed "llvm-$version-dev" && installed "liblld-$version-dev" && llvm=$version && break
done
[ -n "$llvm" ] && [ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  [ -n "$llvm" ] || missing+=("llvm-N-dev liblld-N-dev (N: ${LLVM_VERSIONS// / or })")
  command -v sudo >/dev/null || die "missing packages, and no sudo to install them: ${missing[*]}"
  as_root=(sudo)
fi
say "updating the package lists"
quietly "${as_root[@]}" apt-get update
if [ -z "$llvm" ]; then
  for version in $LLVM_VERSIONS; do
    if available "llvm-$version-dev" && available "liblld-$version-dev"; then
      missing+=("llvm-$version-dev" "liblld-$version-dev")
      llvm=$version
      break
    fi
  done
  [ -n "$llvm" ] || die "no llvm-N-dev with liblld-N-dev to be had (N: ${LLVM_VERSIONS// / or })"
fi
say "installing ${missing[*]}"
quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y --no-install-recommends "${missing[@]}"
