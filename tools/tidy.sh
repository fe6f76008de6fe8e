#!/usr/bin/env bash
# Runs clang-tidy over the sources of a configured build, or over the files named.
# usage: tidy.sh BUILD_DIR [FILES...]
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:?usage: tidy.sh BUILD_DIR [FILES...]}
shift
for tool in "${CLANG_TIDY:-}" clang-tidy-19 clang-tidy; do
  [ -n "$tool" ] && command -v "$tool" >/dev/null && break
  tool=
done
[ -n "$tool" ] || { echo "clang-tidy 19 not found: apt-get install clang-tidy-19" >&2; exit 1; }

# Clang cannot read GCC's precompiled headers, so it gets the commands without them.
commands=$(mktemp -d)
trap 'rm -rf "$commands"' EXIT
sed -E 's/-include [^ ]*cmake_pch\.hxx//g; s/-fpch-preprocess//g; s/-Winvalid-pch//g' \
  "$build/compile_commands.json" >"$commands/compile_commands.json"
if [ $# -eq 0 ]; then
  mapfile -t files < <(git ls-files "*.cpp")
  set -- "${files[@]}"
fi
printf '%s\0' "$@" | xargs -0r -n 1 -P "$(nproc)" "$tool" --quiet -p "$commands"
