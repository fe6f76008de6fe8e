#!/usr/bin/env bash
# Builds ONNX's C++ library from its PyPI source package against the system's protobuf and installs
# it, with its CMake package, into the dependency folder. Runs once per version.
source "$(dirname "$0")/common.sh"

options=(
  -DCMAKE_BUILD_TYPE=Release
  -DCMAKE_CXX_STANDARD=17
  -DCMAKE_POSITION_INDEPENDENT_CODE=ON
  -DBUILD_SHARED_LIBS=OFF
  -DONNX_ML=ON
  -DONNX_USE_LITE_PROTO=OFF
  -DONNX_USE_PROTOBUF_SHARED_LIBS=ON
  -DONNX_BUILD_PYTHON=OFF
  -DONNX_GEN_PB_TYPE_STUBS=OFF
)
key="onnx $ONNX_VERSION, protobuf $(protoc --version), ${options[*]}"
prefix=$deps/onnx-$ONNX_VERSION
done_before onnx "$key" && [ -d "$prefix" ] && exit 0

work=$deps/build
rm -rf "$work" "$prefix"
mkdir -p "$work"
say "downloading the source of ONNX $ONNX_VERSION"
quietly "$deps/venv/bin/pip" download --dest "$work" --no-deps --no-binary onnx \
  "onnx==$ONNX_VERSION"
tar -xzf "$work/onnx-$ONNX_VERSION.tar.gz" -C "$work"

say "building ONNX $ONNX_VERSION as a C++ library (a few minutes, once)"
export PATH="$deps/venv/bin:$PATH"
quietly cmake -S "$work/onnx-$ONNX_VERSION" -B "$work/onnx-build" -G Ninja \
  -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR=lib "${options[@]}"
quietly cmake --build "$work/onnx-build"
quietly cmake --install "$work/onnx-build"
rm -rf "$work"
mark_done onnx "$key"
say "ONNX $ONNX_VERSION is in $prefix"
