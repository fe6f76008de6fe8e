#!/bin/sh
# Packs the small cases for a computer with a GPU, and runs what that computer would run on the
# stand-in for a driver, away from this tree. Usage: run.sh PROGRAM STAND_IN_FOLDER CACHE_DIR
set -eu
program=$1 stand_in=$2
export TINTYPE_CACHE_DIR=$3
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 "$here/../../tools/cuda/bundle.py" "$program" --only small -o "$work/bundle.tar.xz"
mkdir "$work/there"
tar -C "$work/there" -xf "$work/bundle.tar.xz"
LD_LIBRARY_PATH=${stand_in}_libraries:$stand_in "$work/there/tintype-cuda/run.sh" --quick
grep -q '20 of 20 cases' "$work/there/tintype-cuda/results.txt"
for streams in 1 8; do
  grep -q "STREAMS=$streams: 20 of 20 pass" "$work/there/tintype-cuda/results.txt"
done
# A case that has lost its results does not pass.
printf 'nothing' >"$work/there/tintype-cuda/cases/lenet5/data.bin"
printf '{"target": "cuda", "cases": [{"name": "lenet5", "kind": "small network"}]}' \
  >"$work/there/tintype-cuda/cases.json"
if LD_LIBRARY_PATH=$stand_in "$work/there/tintype-cuda/run.sh" --quick >"$work/wrong.txt"; then
  echo "a case without its results passes" >&2
  exit 1
fi
grep -q 'lenet5: failed .*too short' "$work/wrong.txt"
