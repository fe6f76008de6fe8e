#!/usr/bin/env bash
# Installs Tintype and uses what was installed as its users would: the documented way to a pass, the
# examples, plugins that do not fit.
#
# usage: run.sh BUILD_DIR SOURCE_DIR CMAKE
set -euo pipefail
build=$1 source=$2 cmake=$3
here=$source/tests/install
work=$(mktemp -d "${TMPDIR:-/tmp}/tintype-install-XXXXXX")
trap 'rm -rf "$work"' EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }

# expect TEXT COMMAND...: the command succeeds and prints the text.
expect() {
  local text=$1 output; shift
  output=$("$@" 2>&1) || fail "'$*' exits with $?: $output"
  [[ $output == *"$text"* ]] || fail "'$*' does not print '$text' but: $output"
}

# refuse TEXT COMMAND...: the command fails with one line that has the text in it.
refuse() {
  local text=$1 output code=0; shift
  output=$("$@" 2>&1) || code=$?
  [[ $code == 1 ]] || fail "'$*' exits with $code instead of 1: $output"
  [[ $output == "error: "*"$text"* && $output != *$'\n'* ]] ||
    fail "'$*' does not say '$text' in one line but: $output"
}

"$cmake" --install "$build" --prefix "$work/prefix" --strip >"$work/install.log" || fail "$(cat "$work/install.log")"
export PATH=$work/prefix/bin:$(dirname "$cmake"):$PATH CMAKE_PREFIX_PATH=$work/prefix NO_COLOR=1
export XDG_CACHE_HOME=$work/cache

python3 "$here/follow.py" "$source/docs/writing-a-pass.md" "$work/writing-a-pass"

# Examples of patterns.
patterns=$source/examples/patterns
for name in activations cleanup; do
  expect "values unchanged by all passes" \
    tintype opt "$patterns/$name.ir" --patterns "$patterns/$name.pat" --verify-passes -o /dev/null
done
expect "LeakyRelu" tintype opt "$patterns/activations.ir" --patterns "$patterns/activations.pat" \
  --passes fuse-swish,fuse-gelu,fuse-leaky-relu
clean=$(tintype opt "$patterns/cleanup.ir" --patterns "$patterns/cleanup.pat" \
  --passes drop-identity,drop-identity-branch,divide-to-multiply,square,dead-code)
[[ $(grep -c " = " <<<"$clean") == 3 && $clean != *Identity* && $clean != *Pow* ]] || fail "clean-up: $clean"
conv=$(tintype opt "$patterns/conv_5x5.ir" --patterns "$patterns/conv_5x5.pat" --passes split-conv-5x5)
[[ $(grep -c " = Conv(" <<<"$conv") == 2 && $conv == *"f32[N,16,H,W]"* ]] || fail "conv-5x5: $conv"

# The plugin of the examples: passes, and ops of all kinds.
for example in plugin embed embed_c; do
  "$cmake" -S "$source/examples/$example" -B "$work/$example" -DCMAKE_BUILD_TYPE=Release >"$work/log" &&
    "$cmake" --build "$work/$example" >>"$work/log" 2>&1 || fail "$(cat "$work/log")"
done
plugin=$work/plugin/libacme.so net=$source/examples/plugin/net.ir
expect "acme-square" tintype opt --plugin "$plugin" --list-passes
expect "values unchanged by all passes" \
  tintype opt "$net" --plugin "$plugin" --passes acme-square,default --verify-passes -o /dev/null
expect "% zeros" tintype opt "$net" --plugin "$plugin" -o /dev/null \
  --passes 'acme-weight-statistics{min-elements=1}'
tintype run "$net" --plugin "$plugin" --output "$work/fast" >/dev/null
tintype run "$net" --plugin "$plugin" --reference --output "$work/slow" >/dev/null
for i in 0 1; do
  expect "" tintype compare "$work/fast.$i.npy" "$work/slow.$i.npy" --rtol 1e-5 --atol 1e-6
done
# Through ONNX and back, with the domain's ops in it.
tintype opt "$net" --plugin "$plugin" --stop-after 0 -o "$work/net.onnx"
expect "acme::Median" tintype opt "$work/net.onnx" --plugin "$plugin" --stop-after 0
refuse "unknown operator; inline it as a model-local function of the same domain and name, or load a plugin" \
  tintype run "$work/net.onnx"
# The gradients of SoftClip and Bump, against differences.
sed -e 's/, %4 as "m"//' -e '/Median/d' "$net" >"$work/smooth.ir"
tintype opt "$work/smooth.ir" --plugin "$plugin" --stop-after 0 -o "$work/smooth.onnx"
expect "1 of 1 agree" tintype gradcheck "$work/smooth.onnx" --plugin "$plugin" --dim N=3
# Its kernels: as scheduled, as defined, and as the host has it, where the input is a constant.
kernels=$source/examples/plugin/kernels.ir
expect "values unchanged by all passes" \
  tintype opt "$kernels" --plugin "$plugin" --passes default --verify-passes -o /dev/null
tintype run "$kernels" --plugin "$plugin" --dim N=5 --output "$work/fast" >/dev/null
tintype run "$kernels" --plugin "$plugin" --dim N=5 --reference --output "$work/slow" >/dev/null
cat >"$work/constant.ir" <<'IR'
graph "constant"() {
  %x = constant() {value = f32[1,1,6](1.0, -2.0, 3.0, 4.0, 0.5, -1.5)}
  %0 = acme::Blur(%x) {radius = 2}
  %1, %2 = acme::Normalize(%0)
  return %1 as "y", %2 as "norm"
}
IR
sed -e 's/constant"()/variable"(%x: f32[1,1,6])/' -e '/%x = /d' "$work/constant.ir" >"$work/variable.ir"
cat >"$work/x.ir" <<'IR'
graph "x"() {
  %x = constant() {value = f32[1,1,6](1.0, -2.0, 3.0, 4.0, 0.5, -1.5)}
  return %x as "x"
}
IR
tintype run "$work/x.ir" --output "$work/x" >/dev/null
tintype run "$work/constant.ir" --plugin "$plugin" --output "$work/host" >/dev/null
tintype run "$work/variable.ir" --plugin "$plugin" --input "$work/x.npy" --output "$work/kernel" >/dev/null
for i in 0 1; do
  expect "" tintype compare "$work/fast.$i.npy" "$work/slow.$i.npy" --rtol 1e-5 --atol 1e-6
  expect "" tintype compare "$work/kernel.$i.npy" "$work/host.$i.npy" --rtol 1e-5 --atol 1e-6
done
expect "plugin" tintype profile "$kernels" --plugin "$plugin" --dim N=5
tintype opt "$kernels" --plugin "$plugin" --stop-after 0 -o "$work/kernels.onnx"
expect "1 of 1 agree" tintype gradcheck "$work/kernels.onnx" --plugin "$plugin" --dim N=3
# Host ops of a plugin are needed where the compiled file runs.
tintype compile "$net" --plugin "$plugin" -o "$work/net.tt" >/dev/null
refuse "load the plugin that has it first" tintype run "$work/net.tt"
expect "m: f32[1]" tintype run "$work/net.tt" --plugin "$plugin"

# The compiler, and the runtime alone, in programs of one's own.
expect "0.726149" "$work/embed/embed" "$net" "$plugin" "$patterns/cleanup.pat" square,default
tintype compile "$patterns/activations.ir" --patterns "$patterns/activations.pat" -o "$work/model.tt" >/dev/null
expect "0.561181" "$work/embed/deployed" "$work/model.tt"
expect "0.561181" "$work/embed_c/deployed_c" "$work/model.tt"

# What does not fit is refused with the reason.
cat >"$work/old.c" <<'C'
struct { const char *version, *interface, *name; void (*add)(void); } tintype_plugin = {"0.0.1", "abc", "old", 0};
C
cc -shared -fPIC -o "$work/old.so" "$work/old.c"
cat >"$work/idle.c" <<'C'
#include <tintype/passes/plugin_version.h>
struct { const char *version, *interface, *name; void (*add)(void); } tintype_plugin = {
    TINTYPE_PLUGIN_VERSION, TINTYPE_PLUGIN_INTERFACE, "idle", 0};
C
cc -shared -fPIC -I"$work/prefix/include" -o "$work/idle.so" "$work/idle.c"
echo "int x;" >"$work/none.c"
cc -shared -fPIC -o "$work/none.so" "$work/none.c"
echo "no library" >"$work/text.so"
refuse "was built for Tintype 0.0.1 (interface abc), this is" tintype opt "$net" --plugin "$work/old.so"
refuse "plugin 'idle': TINTYPE_PLUGIN names no function" tintype opt "$net" --plugin "$work/idle.so"
refuse "it has no entry point" tintype opt "$net" --plugin "$work/none.so"
refuse "cannot be loaded as a plugin" tintype opt "$net" --plugin "$work/text.so"
refuse "missing.so: No such file" tintype opt "$net" --plugin "$work/missing.so"
echo "the installed Tintype works"
