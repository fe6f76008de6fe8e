# Shared by the set-up scripts: strict mode, the pinned versions, the dependency folder, messages.
# shellcheck shell=bash
set -euo pipefail

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=../../cmake/dependencies.env
source "$source_dir/cmake/dependencies.env"
deps=${TINTYPE_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/tintype-deps}
mkdir -p "$deps/stamps"
# Two checkouts share the folder; one of them sets it up at a time.
exec 9>"$deps/lock"
flock 9

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# done_before NAME CONTENT: whether step NAME was finished with exactly this content (its versions).
done_before() { [ -f "$deps/stamps/$1" ] && [ "$(cat "$deps/stamps/$1")" = "$2" ]; }
mark_done() { printf '%s\n' "$2" >"$deps/stamps/$1"; }

# Runs a long command quietly; its output is shown only when it fails.
quietly() {
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    rm -f "$log"
    die "failed: $*"
  fi
  rm -f "$log"
}

# make_venv FOLDER: a virtual environment with a usable pip.
make_venv() {
  [ -x "$1/bin/pip" ] && return
  rm -rf "$1"
  quietly python3 -m venv "$1"
}
