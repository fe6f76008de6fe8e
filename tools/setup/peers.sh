#!/usr/bin/env bash
# Creates the virtual environment of competitors and oracles, for benchmarks alone (several GB).
# Prints the path of its Python.
source "$(dirname "$0")/common.sh"

wanted="onnx==$ONNX_VERSION $PEERS_PIP"
if ! done_before peers "$wanted"; then
  say "virtual environment with $wanted (several GB, once)" >&2
  make_venv "$deps/peers-venv"
  # shellcheck disable=SC2086
  quietly "$deps/peers-venv/bin/pip" install $wanted
  mark_done peers "$wanted"
fi
echo "$deps/peers-venv/bin/python"
