#!/usr/bin/env bash
# Measures Tintype against its peers on the networks of the documents and prints the table.
# usage: run.sh TINTYPE_PROGRAM [options of peers.py]
# TINTYPE_BENCH_MODELS: folder for the exported networks (default: in the dependency folder).
set -euo pipefail
cd "$(dirname "$0")/.."
program=${1:?usage: bench/run.sh TINTYPE_PROGRAM [options of peers.py]}
shift
deps=${TINTYPE_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/tintype-deps}
models=${TINTYPE_BENCH_MODELS:-$deps/bench-models}
networks=(vgg16 resnet18 googlenet resnet50 alexnet inception_v3 mobilenet_v2)

python=$(tools/setup/peers.sh)
"$python" bench/export_torchvision.py "$models" "${networks[@]}" --exporters ts
"$python" bench/export_networks.py "$models/others"
mkdir -p build
files=("${networks[@]/#/$models/ts/}")
"$python" bench/peers.py "${files[@]/%/.onnx}" "$models"/others/*.onnx --tintype "$program" \
  --threads 2,1 --batch 1,8 --json build/bench.json --markdown build/bench.md "$@"
