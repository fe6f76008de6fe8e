#!/usr/bin/env bash
# Fuzzes readers of files with libFuzzer, each for some seconds. usage: run.sh SECONDS [READER...]
# Build before: cmake --preset fuzz && cmake --build --preset fuzz --target tintype_fuzz
# What makes a reader crash stays in build/fuzz/found/READER/.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -ge 1 ] || { echo "usage: run.sh SECONDS [READER...]" >&2; exit 2; }
seconds=$1
shift
program=build/fuzz/tests/tintype_fuzz
readers=("$@")
[ ${#readers[@]} -gt 0 ] || read -ra readers <<<"$("$program" 2>&1 | sed 's/.*one of//' || true)"
failed=()
for reader in "${readers[@]}"; do
  found=build/fuzz/found/$reader corpus=build/fuzz/corpus/$reader
  mkdir -p "$found" "$corpus"
  echo "== $reader"
  TINTYPE_READER=$reader TINTYPE_SEEDS=$corpus-whole \
    "$program" -runs=0 >/dev/null 2>&1
  # Errors that are right unwind without a leak; the limits are those of tests/damage.
  TINTYPE_READER=$reader "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
    -malloc_limit_mb=256 -max_len=65536 -artifact_prefix="$found/" -print_final_stats=1 \
    "$corpus" "$corpus-whole" >"$found/log" 2>&1 || failed+=("$reader")
  grep -E "stat::number_of_executed_units|no typed error|SUMMARY" "$found/log" || tail -3 "$found/log"
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
