#!/usr/bin/env python3
"""Writes ONNX's official backend test suite to files that a C++ program can run.

usage: export_suite.py OUT_DIR

The node cases live only as Python code since ONNX 1.23; this writes every case of every kind as
  OUT_DIR/<kind>/<case>/model.onnx
  OUT_DIR/<kind>/<case>/test_data_set_<n>/{input,output}_<i>.pb
  OUT_DIR/<kind>/<case>/data.json      only where the tolerances are not 1e-3 and 1e-7
and OUT_DIR/index.json: the ONNX version, and for each case its kind, name, the operator it is about
(for kind node), all operators in it, its opsets, and its tolerances. A value is a TensorProto,
SequenceProto, MapProto or OptionalProto as the model's declared type says.
"""

import collections
import json
import pathlib
import re
import shutil
import sys

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test import loader
from onnx.backend.test.runner import Runner

DEFAULT_RTOL, DEFAULT_ATOL = 1e-3, 1e-7
LIGHT_DIR = pathlib.Path(loader.DATA_DIR) / "light"


def encode(value, info):
    """The bytes of one input or output, in the message kind that its declared type asks for."""
    kind = info.type.WhichOneof("value")
    if hasattr(value, "SerializeToString"):
        return value.SerializeToString()
    if kind == "sequence_type":
        return numpy_helper.from_list(value, info.name).SerializeToString()
    if kind == "map_type":
        return numpy_helper.from_dict(value, info.name).SerializeToString()
    if kind == "optional_type":
        return numpy_helper.from_optional(value, info.name).SerializeToString()
    return numpy_helper.from_array(np.asarray(value), info.name).SerializeToString()


def write_data_set(folder, inputs, input_infos, outputs, output_infos):
    folder.mkdir(parents=True)
    for role, values, infos in (("input", inputs, input_infos), ("output", outputs, output_infos)):
        if len(values) > len(infos):
            raise ValueError(f"{folder}: {len(values)} {role}s recorded, {len(infos)} declared")
        for i, value in enumerate(values):
            (folder / f"{role}_{i}.pb").write_bytes(encode(value, infos[i]))


def operator_name(node):
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def operators_in(graph):
    for node in graph.node:
        yield operator_name(node)
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from operators_in(body)


def write_in_memory_case(case, folder):
    """A case that exists as Python objects: a model and its data sets."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    for n, (inputs, outputs) in enumerate(case.data_sets):
        write_data_set(folder / f"test_data_set_{n}", inputs, case.model.graph.input, outputs,
                       case.model.graph.output)
    return case.model


def write_light_case(case, folder):
    """A published network with constant weights: its input is a ramp, its output is recorded."""
    path = LIGHT_DIR / pathlib.Path(case.url).name
    folder.mkdir(parents=True)
    shutil.copy(path, folder / "model.onnx")
    model = onnx.load(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    infos = [info for info in model.graph.input if info.name not in weights]
    inputs = [Runner.generate_dummy_data(info, seed=0, name=case.model_name, random=False)
              for info in infos]
    expected = onnx.TensorProto()
    expected.ParseFromString(path.with_name(path.stem + "_output_0.pb").read_bytes())
    write_data_set(folder / "test_data_set_0", inputs, infos, [expected], model.graph.output)
    return model


def copy_case(case, folder):
    """A case that ships as files; data sets keep their numbers."""
    shutil.copytree(case.model_dir, folder, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    return onnx.load(folder / "model.onnx", load_external_data=False)


def write_case(case, folder):
    if case.model is not None:
        return write_in_memory_case(case, folder)
    if case.url and "/light/" in case.url:
        return write_light_case(case, folder)
    return copy_case(case, folder)


def all_cases():
    """What the official runner runs, no more: the loader's view of every kind."""
    kinds = ("node", "simple", "pytorch-operator", "pytorch-converted", "real")
    return [case for kind in kinds for case in loader.load_model_tests(kind=kind)]


def index_row(case, model, tested_operator):
    row = {"kind": case.kind, "name": case.name}
    if case.kind == "node":
        base = re.sub(r"_expanded(_ver\d+)?$", "", case.name)
        row["operator"] = tested_operator[base]
    row["operators"] = sorted(set(operators_in(model.graph)))
    row["opsets"] = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    row["rtol"], row["atol"] = case.rtol, case.atol
    return row


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    if out.exists():
        sys.exit(f"{out} exists; remove it first")
    cases = sorted(all_cases(), key=lambda case: (case.kind, case.name))
    tested_operator = {case.name: operator_name(case.model.graph.node[0]) for case in cases
                       if case.kind == "node" and "_expanded" not in case.name}
    rows = []
    for case in cases:
        folder = out / case.kind / case.name
        rows.append(index_row(case, write_case(case, folder), tested_operator))
        if (case.rtol, case.atol) != (DEFAULT_RTOL, DEFAULT_ATOL):
            tolerances = {"rtol": case.rtol, "atol": case.atol}
            (folder / "data.json").write_text(json.dumps(tolerances) + "\n")
    index = {"onnx": onnx.__version__, "cases": rows}
    (out / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    counts = collections.Counter(row["kind"] for row in rows)
    print(f"{len(rows)} cases:", ", ".join(f"{kind} {count}" for kind, count in counts.items()))


if __name__ == "__main__":
    main()
