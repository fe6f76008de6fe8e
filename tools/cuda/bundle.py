#!/usr/bin/env python3
"""Packs all that a computer with an NVIDIA GPU needs to check Tintype's kernels and to measure them:
programs, inputs, results of the CPU, and a runner that needs the C library alone.

usage: bundle.py TINTYPE [--target cuda,sm_80] [--only small] [-o tintype-cuda.tar.xz]

There: tar xf tintype-cuda.tar.xz && tintype-cuda/run.sh
"""

import argparse
import concurrent.futures
import json
import lzma
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from kernel_table import DEPS, STEPS, run, save_npy  # noqa: E402

LIMIT_MB = 60
SMALL = ("lenet5", "lstm-rows", "mlp")
LARGE = ("resnet18", "googlenet", "resnet50", "vgg16")
# With NVIDIA's libraries, beside our kernels alone: a network or step as the cost model has it, in
# f32 and in TF32, of which the results are held to 1e-2 of the scale.
VARIANTS = {"libraries": ("--libraries", "auto,f32"), "tf32": ("--libraries", "auto")}
WITH_LIBRARIES = (*SMALL, "resnet50", "resnet18")
EVERY = 6  # of the suite's cases, which are many and alike
# Words of four bytes whose last one varies, and little repeats: weights.
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 1, "lc": 0, "lp": 2, "pb": 2}]


class Bundler:
    def __init__(self, tintype, target, folder, work):
        self.tintype, self.target, self.folder, self.work = tintype, target, folder, work
        self.cases = []

    def pack(self, name, model, kind, *options, must=True, variant=None):
        """A case; when the target has no kernel for one of its nodes, none, unless it must."""
        case = {"name": name if variant is None else f"{name}+{variant}", "kind": kind}
        if variant is not None:
            case.update(base=name, variant=variant)
        folder = self.folder / "cases" / case["name"]
        done = run([self.tintype, "bundle", model, "--target", self.target, "-o", folder,
                    *VARIANTS.get(variant, ("--libraries", "never")), *options], check=must)
        if done.returncode == 0:
            self.cases.append(case)
            print(done.stdout.strip().splitlines()[-1], file=sys.stderr, flush=True)
        return done.returncode == 0

    def pack_variants(self, network, *arguments, variants=tuple(VARIANTS)):
        self.pack(*arguments)
        if network in WITH_LIBRARIES:
            for variant in variants:
                self.pack(*arguments, variant=variant)

    def network(self, name):
        model = self.work / f"{name}.onnx"
        run([self.tintype, "zoo", name, "-o", model])
        kind = "network" if name in LARGE else "small network"
        if name == "resnet18":  # its step shows what libraries do
            self.pack(name, model, kind, "--coarse-weights", "--dim", "N=1")
        else:
            self.pack_variants(name, name, model, kind, "--coarse-weights", "--dim", "N=1")
        model.unlink()

    def step(self, name, optimizer):
        dims, count = STEPS[name], 1
        for d in dims:
            count *= d
        save_npy(self.work / "x.npy", "<f4", (8, *dims), struct.pack("<f", 0.5) * (8 * count))
        save_npy(self.work / "y.npy", "<i8", (8,), b"".join(struct.pack("<q", i) for i in range(8)))
        rate = float(re.search(r"lr=([^,]+)", optimizer)[1])
        save_npy(self.work / "rate.npy", "<f4", (), struct.pack("<f", rate))
        step = self.work / "step.ir"
        run([self.tintype, "train", name, "--data", self.work / "x.npy", self.work / "y.npy",
             "--epochs", "1", "--batch", "8", "--optimizer", optimizer, "--save-step", step,
             "--diagnostics", "0", "--force", "-o", self.work / "run"])
        large = name in LARGE
        # Adam divides by the size of a gradient: where one is as small as TF32's rounding, whole
        # updates differ, by a twentieth of the largest bias after three steps of the MLP.
        variants = [v for v in VARIANTS if v != "tf32" or not optimizer.startswith("adam")]
        self.pack_variants(name, f"{name}-{optimizer.split(',')[0]}", step,
                           "training step" if large else "small training step",
                           "--coarse-weights", "--dim", f"N={16 if large else 8}", "--input",
                           f"learning_rate={self.work / 'rate.npy'}",
                           "--runs", "1" if large else "3", variants=variants)

    def operator(self, case):
        inputs = []
        for file in sorted(case.glob("test_data_set_0/input_*.pb")):
            name = tensor_name(file.read_bytes())
            if not name or re.search(r"[\s=]", name):
                return
            inputs += ["--input", f"{name}={file}"]
        self.pack(f"op/{case.name}", case / "model.onnx", "operator", *inputs, must=False)


def tensor_name(data):
    """The name in a serialised TensorProto: its field 8."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            varint()
        elif tag & 7 == 2:
            size = varint()
            if tag >> 3 == 8:
                return data[at:at + size].decode()
            at += size
        else:
            at += 4 if tag & 7 == 5 else 8
    return None


def foreign_libraries(program):
    """Shared libraries that a program needs and not every Linux has."""
    usual = re.compile(r"(linux-vdso|lib(c|m|dl|pthread|rt)|ld-linux-x86-64)\.so")
    needed = [line.split()[0] for line in run(["ldd", program]).stdout.splitlines() if line.strip()]
    return [n for n in needed if not usual.match(pathlib.Path(n).name)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("tintype", type=pathlib.Path)
    parser.add_argument("--target", default="cuda,sm_80")
    parser.add_argument("--only", choices=["small", "operators", "large"], action="append",
                        help="leave the rest out (repeatable)")
    parser.add_argument("-o", "--output", type=pathlib.Path, default="tintype-cuda.tar.xz")
    a = parser.parse_args()
    parts = a.only or ["small", "operators", "large"]
    runner = a.tintype.parent / "tintype-check"
    if foreign := foreign_libraries(runner):
        sys.exit(f"{runner} needs {', '.join(foreign)}, which the other side may not have")
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        folder = work / "tintype-cuda"
        (folder / "cases" / "op").mkdir(parents=True)
        b = Bundler(a.tintype.resolve(), a.target, folder, work)
        if "small" in parts:
            for name in SMALL:
                b.network(name)
                b.step(name, "sgd,lr=0.01,momentum=0.9")
            # Of the smallest gradients Adam divides rounding by rounding: at its usual rate that
            # moves weights by less than the tolerance.
            b.step("mlp", "adam,lr=0.001")
        if "large" in parts:
            for name in LARGE:
                b.network(name)
            b.step("resnet18", "sgd,lr=0.01,momentum=0.9")
        if "operators" in parts:
            suites = sorted(DEPS.glob("onnx-suite-*"))
            if not suites:
                sys.exit("the ONNX suite is not there; run 'make suite'")
            cases = sorted(p.parent for p in (suites[-1] / "node").glob("*/model.onnx"))[::EVERY]
            with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(b.operator, cases))
        shutil.copy(runner, folder / "tintype-check")
        subprocess.run(["strip", folder / "tintype-check"], check=True)
        for file in ("run.sh", "check.py", "README.txt"):
            shutil.copy(HERE / "bundle" / file, folder / file)
        b.cases.sort(key=lambda c: c["name"])
        (folder / "cases.json").write_text(json.dumps({"target": a.target, "cases": b.cases}, indent=1))
        with lzma.open(a.output, "wb", filters=FILTERS) as packed, \
                tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(folder, "tintype-cuda")
    megabytes = a.output.stat().st_size / 1e6
    print(f"{a.output}: {len(b.cases)} cases, {megabytes:.1f} MB")
    if megabytes > LIMIT_MB:
        sys.exit(f"more than {LIMIT_MB} MB")


if __name__ == "__main__":
    main()
