#!/usr/bin/env bash
# Creates the virtual environment that holds Halide, CMake and Ninja.
source "$(dirname "$0")/common.sh"

wanted="halide==$HALIDE_VERSION cmake==$CMAKE_VERSION ninja==$NINJA_VERSION"
done_before venv "$wanted" && exit 0
say "virtual environment with $wanted"
make_venv "$deps/venv"
# shellcheck disable=SC2086
quietly "$deps/venv/bin/pip" install $wanted
mark_done venv "$wanted"
