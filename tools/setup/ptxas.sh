#!/usr/bin/env bash
# Installs NVIDIA's PTX assembler, which tests check the kernels for CUDA with, into a virtual
# environment of its own. Prints its path.
source "$(dirname "$0")/common.sh"

if ! done_before ptxas "$PTXAS_PIP"; then
  say "virtual environment with $PTXAS_PIP" >&2
  make_venv "$deps/ptxas-venv"
  quietly "$deps/ptxas-venv/bin/pip" install --no-deps "$PTXAS_PIP"
  mark_done ptxas "$PTXAS_PIP"
fi
find "$deps/ptxas-venv" -name ptxas -type f -perm -u+x | head -n 1
