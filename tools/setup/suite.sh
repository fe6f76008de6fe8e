#!/usr/bin/env bash
# Exports ONNX's official backend test suite from its Python package into the dependency folder.
source "$(dirname "$0")/common.sh"

suite=$deps/onnx-suite-$ONNX_VERSION
script=$source_dir/tests/onnx_suite/export_suite.py
key="onnx $ONNX_VERSION, script $(sha256sum <"$script" | cut -c1-16)"
done_before suite "$key" && [ -f "$suite/index.json" ] && exit 0

packages="onnx==$ONNX_VERSION numpy pillow"
if ! done_before suite-venv "$packages"; then
  say "virtual environment with $packages"
  make_venv "$deps/suite-venv"
  # shellcheck disable=SC2086
  quietly "$deps/suite-venv/bin/pip" install $packages
  mark_done suite-venv "$packages"
fi
say "exporting the official suite of ONNX $ONNX_VERSION"
rm -rf "$suite.partial"
quietly "$deps/suite-venv/bin/python" "$script" "$suite.partial"
rm -rf "$suite"
mv "$suite.partial" "$suite"
mark_done suite "$key"
say "the suite is in $suite"
