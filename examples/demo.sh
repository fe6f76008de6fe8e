#!/usr/bin/env bash
# Trains a network on real digits and shows what it learned. Then builds two networks with seeded
# weights, compiles them, runs them on two photographs, checks the results against the unfused
# reference program, and shows what fusion did to time and structure.
# Usage: examples/demo.sh [PROGRAM]
set -euo pipefail
cd "$(dirname "$0")/.."
tintype=${1:-build/release/tintype}
out=build/demo
mkdir -p "$out"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# Names of fused regions, the commonest first.
names() {
  sed -n 's/.*= region(.*{name = "\([^"]*\)"}.*/\1/p' "$1" | sort | uniq -c | sort -rn |
    awk 'NR <= 6 {printf "%s%s (%d)", (NR > 1 ? ", " : ""), $2, $1}'
}

say "lenet5, trained on handwritten digits"
digits=$out/digits
"$tintype" train lenet5 --data examples/data/digits --resize 28 --validation-split 0.2 \
  --augment shift=1,rotate=8,scale=0.1 --epochs 12 --optimizer adam,lr=2e-3 --schedule cosine \
  --verbose --show 5 --force -o "$digits"
"$tintype" compile "$digits/model.onnx" -o "$digits/model.tt"
"$tintype" bench "$digits/model.onnx" --batch 64 --seconds 1 --reference --json "$digits/unfused.json" >/dev/null
"$tintype" bench "$digits/model.onnx" --batch 64 --seconds 1 --json "$digits/fused.json" >/dev/null
median() { sed -n 's/.*"median_ms": *\([0-9.]*\).*/\1/p' "$1"; }
printf 'time for 64 digits unfused: %s ms, fused: %s ms\n' \
  "$(median "$digits/unfused.json")" "$(median "$digits/fused.json")"
printf 'pictures: %s/curves.svg, confusion.svg, predictions.svg, filters.png\n' "$digits"

failures=0
for network in resnet50 googlenet; do
  model=$out/$network.onnx
  say "$network"
  "$tintype" zoo "$network" --seed 1 -o "$model"
  "$tintype" compile "$model" -o "$out/$network.tt"

  for photograph in china flower; do
    image=(--image "examples/data/$photograph.jpg" --preprocess imagenet)
    printf '\n%s.jpg (weights are random, so the classes mean nothing)\n' "$photograph"
    result=$out/$network-$photograph
    "$tintype" run "$model" "${image[@]}" --reference --output "$result-reference" >"$result-reference.log"
    "$tintype" run "$out/$network.tt" "${image[@]}" >"$result.log"  # warms up
    "$tintype" run "$out/$network.tt" "${image[@]}" --top 3 --output "$result" >"$result.log"
    grep class "$result.log"
    "$tintype" compare "$result.npy" "$result-reference.npy" --rtol 1e-4 --atol 1e-4 ||
      failures=$((failures + 1))
    printf 'time unfused: %s, fused: %s\n' \
      "$(tail -n 1 "$result-reference.log")" "$(tail -n 1 "$result.log")"
  done

  "$tintype" show "$model" >"$out/$network.txt"
  printf '\n%s fused regions, for instance %s\n' "$(grep -c '= region(' "$out/$network.txt")" \
    "$(names "$out/$network.txt")"
  "$tintype" show "$model" --svg "$out/$network.svg"
  printf 'picture of the graph: %s\n' "$out/$network.svg"
done

if [ "$failures" -ne 0 ]; then
  printf '\n%s results differ from the reference program\n' "$failures" >&2
  exit 1
fi
