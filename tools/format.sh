#!/usr/bin/env bash
# Checks or repairs the formatting of all C++ sources. usage: format.sh --check | --fix
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
  --check) mode=(--dry-run --Werror) ;;
  --fix) mode=(-i) ;;
  *) echo "usage: format.sh --check | --fix" >&2; exit 2 ;;
esac
for tool in "${CLANG_FORMAT:-}" clang-format-19 clang-format; do
  [ -n "$tool" ] && command -v "$tool" >/dev/null && break
  tool=
done
[ -n "$tool" ] || { echo "clang-format 19 not found: apt-get install clang-format-19" >&2; exit 1; }
git ls-files -z --cached --others --exclude-standard '*.h' '*.cpp' | xargs -0r "$tool" "${mode[@]}"
