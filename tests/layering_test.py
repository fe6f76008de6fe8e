#!/usr/bin/env python3
"""Checks that each folder includes only what the layering allows it to see.

usage: layering_test.py SOURCE_DIR
The table below is the layering; the first matching folder prefix of a file is its layer.
"""

import pathlib
import re
import sys

IR_FROM_RUNTIME = r"runtime/(dtype|tensor|status|attributes|atomic_file|scalar)\.h"
HALIDE_RUNTIME = r"HalideRuntime\w*\.h"
FLATBUFFERS = r"flatbuffers/.*"
ONNX = r"onnx/.*|google/protobuf/.*"
DATA_FROM_RUNTIME = r"runtime/(dtype|tensor|status|scalar|guarded|atomic_file|mapped_file|checksum|philox|nearest_name)\.h"
TEXT = [r"nlohmann/.*", r"fmt/.*"]

# layer -> (own headers it may include, third-party headers it may include beyond the standard ones)
LAYERS = {
    "runtime": ([r"runtime/.*"], [HALIDE_RUNTIME, FLATBUFFERS, r"xxhash\.h"]),
    "ir": ([r"ir/.*", IR_FROM_RUNTIME], []),
    "frontend/onnx": ([r"frontend/(?!data/|plot/|train/).*", r"ir/.*", IR_FROM_RUNTIME, r"runtime/atomic_file\.h", r"runtime/scalar\.h", r"passes/known_value\.h"], [ONNX]),
    "frontend/train": ([r"frontend/(train|graph)/.*", r"ir/.*", r"passes/.*", r"runtime/.*"], []),
    "frontend/data": ([r"frontend/data/.*", DATA_FROM_RUNTIME], [r"zlib\.h", r"stb/.*", *TEXT]),
    "frontend/plot": ([r"frontend/(data|plot)/.*", DATA_FROM_RUNTIME], TEXT),
    "frontend": ([r"frontend/(?!data/|plot/|train/).*", r"ir/.*", IR_FROM_RUNTIME], []),
    "passes": ([r"passes/.*", r"ir/.*", IR_FROM_RUNTIME, r"runtime/(host_ops|scalar)\.h"], []),
    "codegen": ([r"codegen/.*", r"ir/.*", r"runtime/.*"],
                [r"Halide.*\.h", r"llvm(-c)?/.*", r"lld/.*", r"xxhash\.h"]),
    "tools/check": ([r"tools/check/.*", r"runtime/.*"], []),
    "tests/runtime_only": ([r"runtime/.*"], [HALIDE_RUNTIME]),
}
OWN_FOLDERS = ("runtime/", "ir/", "frontend/", "passes/", "codegen/", "tools/", "tests/")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# The C++ standard library has names without an extension; these are C, POSIX, Linux and intrinsics.
SYSTEM = re.compile(r"[a-z_0-9]+|(sys|linux|asm)/.*|(unistd|fcntl|errno|dlfcn|sched|pthread|time"
                    r"|signal|dirent|immintrin|cxxabi|execinfo|pwd|math|stdint|stddef|string)\.h")


def layer_of(path):
    matches = [name for name in LAYERS if path.startswith(name + "/")]
    return max(matches, key=len, default=None)


def problems_of(root, path):
    layer = layer_of(path)
    if layer is None:
        return
    own, foreign = LAYERS[layer]
    for number, line in enumerate((root / path).read_text().splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        quote, header = found.groups()
        where = f"{path}:{number}"
        if header.startswith(OWN_FOLDERS) and quote == '"':
            if not any(re.fullmatch(rule, header) for rule in own):
                yield f"{where}: {layer}/ may not include {header}; allowed: {', '.join(own)}"
        elif re.fullmatch("|".join(foreign) or "(?!)", header):
            continue
        elif quote == '"':
            yield f"{where}: {header} is not written from the repository root"
        elif not SYSTEM.fullmatch(header):
            allowed = ", ".join(foreign) or "the standard library"
            yield f"{where}: {layer}/ may not include <{header}>; allowed: {allowed}"


def main():
    root = pathlib.Path(sys.argv[1])
    files = sorted(str(file.relative_to(root)) for layer in LAYERS
                   for file in (root / layer).rglob("*") if file.suffix in (".h", ".cpp", ".hpp"))
    problems = [problem for path in dict.fromkeys(files) for problem in problems_of(root, path)]
    print("\n".join(problems) or f"{len(set(files))} files respect the layering")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
