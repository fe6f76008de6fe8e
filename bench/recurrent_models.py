#!/usr/bin/env python3
"""Writes the recurrent networks of docs/benchmarks.md as ONNX models with seeded weights.

usage: recurrent_models.py FOLDER       (then: peers.py FOLDER/*.onnx)

lstm_T100_B1_H128.onnx: 100 steps, batch 1, 128 hidden units and as many features; `cells_`: the same
LSTM with its steps written out and a product per gate, as a model built by hand would have it.
"""
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZES = [(100, 1, 128), (100, 1, 256), (100, 1, 512), (50, 16, 256), (50, 64, 512)]
GATES = {"LSTM": 4, "GRU": 3}


def weights(rng, hidden, **shapes):
    scale = hidden ** -0.5
    return [numpy_helper.from_array(rng.uniform(-scale, scale, shape).astype(np.float32), name)
            for name, shape in shapes.items()]


def save(folder, name, nodes, inputs, outputs, initializers):
    info = lambda n, s: helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
    graph = helper.make_graph(nodes, name, [info(*i) for i in inputs], [info(*o) for o in outputs],
                              initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, folder / f"{name}.onnx")


def operator(folder, op, steps, batch, hidden):
    rng = np.random.default_rng(hidden)
    rows = GATES[op] * hidden
    attrs = {"hidden_size": hidden}
    if op == "GRU":
        attrs["linear_before_reset"] = 1
    node = helper.make_node(op, ["x", "w", "r", "b"], ["y", "h"], **attrs)
    save(folder, f"{op.lower()}_T{steps}_B{batch}_H{hidden}", [node],
         [("x", [steps, batch, hidden])],
         [("y", [steps, 1, batch, hidden]), ("h", [1, batch, hidden])],
         weights(rng, hidden, w=(1, rows, hidden), r=(1, rows, hidden), b=(1, 2 * rows)))


def cells(folder, steps, batch, hidden):
    """i, f, o = sigmoid(x W + h U + b), g = tanh(...), c = f c + i g, h = o tanh(c), step by step."""
    rng = np.random.default_rng(hidden)
    shapes = {}
    for gate in "ifog":
        shapes.update({f"w{gate}": (hidden, hidden), f"u{gate}": (hidden, hidden), f"b{gate}": (hidden,)})
    initializers = weights(rng, hidden, **shapes)
    zeros = np.zeros((batch, hidden), np.float32)
    initializers += [numpy_helper.from_array(zeros, "h"), numpy_helper.from_array(zeros, "c")]
    nodes = []

    def add(op, inputs, output, **attrs):
        nodes.append(helper.make_node(op, inputs, [output], **attrs))
        return output

    h, c, ys = "h", "c", []
    for t in range(steps):
        index = numpy_helper.from_array(np.array(t, np.int64), f"t{t}")
        initializers.append(index)
        x = add("Gather", ["x", f"t{t}"], f"x{t}", axis=0)
        gates = {}
        for gate in "ifog":
            n = f"{gate}{t}"
            total = add("Add", [add("MatMul", [x, "w" + gate], "xw" + n),
                                add("MatMul", [h, "u" + gate], "hu" + n)], "s" + n)
            total = add("Add", [total, "b" + gate], "sb" + n)
            gates[gate] = add("Tanh" if gate == "g" else "Sigmoid", [total], n)
        kept = add("Mul", [gates["f"], c], f"fc{t}")
        new = add("Mul", [gates["i"], gates["g"]], f"ig{t}")
        c = add("Add", [kept, new], f"c{t}")
        h = add("Mul", [gates["o"], add("Tanh", [c], f"tc{t}")], f"h{t}")
        ys.append(add("Unsqueeze", [h, "zero"], f"y{t}"))
    initializers.append(numpy_helper.from_array(np.array([0], np.int64), "zero"))
    add("Concat", ys, "y", axis=0)
    save(folder, f"cells_T{steps}_B{batch}_H{hidden}", nodes, [("x", [steps, batch, hidden])],
         [("y", [steps, batch, hidden])], initializers)


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for steps, batch, hidden in SIZES:
        for op in GATES:
            operator(folder, op, steps, batch, hidden)
    cells(folder, 100, 1, 256)


if __name__ == "__main__":
    main()
