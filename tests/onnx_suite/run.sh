#!/bin/sh
# Runs the official ONNX suite against the list of cases that fail today; a surprise either way
# fails. Usage: run.sh PROGRAM SUITE_DIR CACHE_DIR [more options of tintype verify]
set -eu
program=$1 suite=$2 cache=$3
shift 3
list=$(dirname "$0")/expected_failures.txt
if [ ! -f "$suite/index.json" ]; then
  echo "the ONNX suite is not at $suite; run 'make suite'" >&2
  exit 1
fi
exec "$program" verify --cache "$cache" --expect-failures "$list" "$@" \
  "$suite"/node/* "$suite"/simple/* "$suite"/pytorch-operator/* "$suite"/pytorch-converted/* "$suite"/real/*
