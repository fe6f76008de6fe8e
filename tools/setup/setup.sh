#!/usr/bin/env bash
# Makes a Debian 12 machine ready to build Tintype: system packages, Halide, CMake, ONNX's library.
# Every step is skipped when it was done before with the same versions.
here=$(cd "$(dirname "$0")" && pwd)
set -e
"$here/apt.sh"
"$here/python.sh"
"$here/onnx.sh"
