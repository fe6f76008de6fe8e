#!/usr/bin/env python3
"""Writes the recurrent networks of docs/benchmarks.md as ONNX models with seeded weights.

usage: recurrent_models.py FOLDER       (then: peers.py FOLDER/*.onnx)

lstm_T100_B1_H128.onnx: 100 steps, batch 1, 128 hidden units and as many features; the reset gate of
gru_ multiplies the recurrent product, that of gru_reset_before_ the state. written_: cells whose
steps are written out (class Written), to be compared with lstm_ and gru_reset_before_.
"""
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZES = [(100, 1, 128), (100, 1, 256), (100, 1, 512), (50, 16, 256), (50, 64, 512)]
WRITTEN_SIZES = [(100, 1, 256), (50, 16, 256)]
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


def operator(folder, op, steps, batch, hidden, reset_after=True):
    rng = np.random.default_rng(hidden)
    rows = GATES[op] * hidden
    attrs = {"hidden_size": hidden}
    if op == "GRU":
        attrs["linear_before_reset"] = int(reset_after)
    node = helper.make_node(op, ["x", "w", "r", "b"], ["y", "h"], **attrs)
    name = op.lower() + ("" if reset_after else "_reset_before")
    save(folder, f"{name}_T{steps}_B{batch}_H{hidden}", [node],
         [("x", [steps, batch, hidden])],
         [("y", [steps, 1, batch, hidden]), ("h", [1, batch, hidden])],
         weights(rng, hidden, w=(1, rows, hidden), r=(1, rows, hidden), b=(1, 2 * rows)))


class Written:
    """A cell written out step by step, as a model built by hand would have it.

    form "apart": x W + h U + b per gate; "joined": concat(x, h) W + b per gate; "whole": the same
    with one product for all gates that see the same state, cut apart behind it.
    """

    def __init__(self, form, steps, batch, hidden):
        self.form, self.steps, self.batch, self.hidden = form, steps, batch, hidden
        self.rng = np.random.default_rng(hidden)
        self.nodes, self.initializers, self.names = [], [], set()

    def add(self, op, *inputs, **attrs):
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attrs))
        return output

    def constant(self, name, array):
        if name not in self.names:
            self.initializers.append(numpy_helper.from_array(array, name))
        self.names.add(name)
        return name

    def weight(self, name, *shape):
        if name not in self.names:
            self.initializers += weights(self.rng, self.hidden, **{name: shape})
        self.names.add(name)
        return name

    def product(self, name, x, h, width):
        """What reaches a gate, or several."""
        n = self.hidden
        if self.form == "apart":
            total = self.add("Add", self.add("MatMul", x, self.weight("w" + name, n, width)),
                             self.add("MatMul", h, self.weight("u" + name, n, width)))
        else:
            total = self.add("MatMul", self.add("Concat", x, h, axis=1),
                             self.weight("w" + name, 2 * n, width))
        return self.add("Add", total, self.weight("b" + name, width))

    def gates(self, names, x, h):
        if self.form != "whole" or len(names) == 1:
            return [self.product(k, x, h, self.hidden) for k in names]
        whole = self.product(names, x, h, len(names) * self.hidden)
        sizes = self.constant(f"sizes{len(names)}", np.array([self.hidden] * len(names), np.int64))
        parts = [f"{whole}_{k}" for k in names]
        self.nodes.append(helper.make_node("Split", [whole, sizes], parts, axis=1))
        return parts

    def lstm(self, x, h, c):
        """i, f, o = sigmoid(x W + h U + b), g = tanh(...), c = f c + i g, h = o tanh(c)"""
        i, f, o, g = self.gates("ifog", x, h)
        i, f, o = (self.add("Sigmoid", v) for v in (i, f, o))
        c = self.add("Add", self.add("Mul", f, c), self.add("Mul", i, self.add("Tanh", g)))
        return self.add("Mul", o, self.add("Tanh", c)), c

    def gru(self, x, h, _):
        """z, r = sigmoid(x W + h U + b), n = tanh(x W + (r h) U + b), h = (1 - z) n + z h"""
        z, r = (self.add("Sigmoid", v) for v in self.gates("zr", x, h))
        n = self.add("Tanh", self.gates("n", x, self.add("Mul", r, h))[0])
        kept = self.add("Sub", self.constant("one", np.array(1, np.float32)), z)
        return self.add("Add", self.add("Mul", kept, n), self.add("Mul", z, h)), None

    def save(self, folder, cell):
        zeros = np.zeros((self.batch, self.hidden), np.float32)
        h, c, ys = self.constant("h0", zeros), self.constant("c0", zeros), []
        for t in range(self.steps):
            x = self.add("Gather", "x", self.constant(f"t{t}", np.array(t, np.int64)), axis=0)
            h, c = getattr(self, cell)(x, h, c)
            ys.append(self.add("Unsqueeze", h, self.constant("axis", np.array([0], np.int64))))
        self.nodes.append(helper.make_node("Concat", ys, ["y"], axis=0))
        shape = [self.steps, self.batch, self.hidden]
        save(folder, f"written_{cell}_{self.form}_T{self.steps}_B{self.batch}_H{self.hidden}",
             self.nodes, [("x", shape)], [("y", shape)], self.initializers)


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for steps, batch, hidden in SIZES:
        for op in GATES:
            operator(folder, op, steps, batch, hidden)
    for size in WRITTEN_SIZES:
        operator(folder, "GRU", *size, reset_after=False)
        for form in ("apart", "joined", "whole"):
            for cell in ("lstm", "gru"):
                Written(form, *size).save(folder, cell)


if __name__ == "__main__":
    main()
