#!/usr/bin/env python3
"""Writes data/recurrent.json and data/recurrent.npy: random RNN, GRU and LSTM nodes with the results
of ONNX Runtime; the second has the elements of all tensors, in order. Run it with the Python of the peers (tools/setup/peers.sh). ONNX Runtime does not
know layout 1; for those cases it runs the same node in layout 0."""
import json
import pathlib

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

HERE = pathlib.Path(__file__).parent / "data"
CASES = 200
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
# What an activation takes, with values that keep states bounded.
ACTIVATIONS = {
    "Relu": None, "Tanh": None, "Sigmoid": None, "Softsign": None, "Softplus": None,
    "LeakyRelu": "a", "ThresholdedRelu": "a", "Elu": "a",
    "Affine": "ab", "ScaledTanh": "ab", "HardSigmoid": "ab",
}


def random_case(rng, number):
    op = ["LSTM", "GRU", "RNN"][number % 3]
    directions = int(rng.integers(1, 3))
    steps, batch, features = (int(rng.integers(1, n)) for n in (7, 4, 6))
    hidden = int(rng.choice([1, 2, 3, 5, 8, 9, 17], p=[0.1, 0.1, 0.2, 0.2, 0.2, 0.15, 0.05]))
    attrs = {"hidden_size": hidden}
    if directions == 2:
        attrs["direction"] = "bidirectional"
    elif rng.random() < 0.4:
        attrs["direction"] = "reverse"
    if rng.random() < 0.5:
        names, alpha, beta = [], [], []
        for _ in range(directions * len(DEFAULTS[op])):
            names.append(str(rng.choice(list(ACTIVATIONS))))
            takes = ACTIVATIONS[names[-1]] or ""
            if "a" in takes:
                alpha.append(float(np.float32(rng.uniform(0.1, 0.9))))
            if "b" in takes:
                beta.append(float(np.float32(rng.uniform(0.1, 0.9))))
        attrs["activations"] = names
        if alpha:
            attrs["activation_alpha"] = alpha
        if beta:
            attrs["activation_beta"] = beta
    if rng.random() < 0.25:
        attrs["clip"] = float(np.float32(rng.uniform(0.2, 1.0)))
    if op == "GRU" and rng.random() < 0.5:
        attrs["linear_before_reset"] = 1
    if op == "LSTM" and rng.random() < 0.2:
        attrs["input_forget"] = 1
    rows = GATES[op] * hidden
    draw = lambda *shape: rng.uniform(-0.6, 0.6, shape).astype(np.float32)
    tensors = {"X": draw(steps, batch, features), "W": draw(directions, rows, features),
               "R": draw(directions, rows, hidden)}
    if rng.random() < 0.7:
        tensors["B"] = draw(directions, 2 * rows)
    if rng.random() < 0.4:
        tensors["sequence_lens"] = rng.integers(1, steps + 1, batch).astype(np.int32)
    if rng.random() < 0.5:
        tensors["initial_h"] = draw(directions, batch, hidden)
    if op == "LSTM" and rng.random() < 0.5:
        tensors["initial_c"] = draw(directions, batch, hidden)
    if op == "LSTM" and rng.random() < 0.4:
        tensors["P"] = draw(directions, 3 * hidden)
    return op, attrs, tensors, bool(rng.random() < 0.25), bool(rng.random() < 0.5)


def run(op, attrs, tensors):
    names = ["X", "W", "R", "B", "sequence_lens", "initial_h"]
    if op == "LSTM":
        names += ["initial_c", "P"]
    outputs = ["Y", "Y_h"] + (["Y_c"] if op == "LSTM" else [])
    node = helper.make_node(op, [n if n in tensors else "" for n in names], outputs, **attrs)
    kind = {np.float32: TensorProto.FLOAT, np.int32: TensorProto.INT32}
    inputs = [helper.make_tensor_value_info(n, kind[t.dtype.type], t.shape)
              for n, t in tensors.items()]
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    graph = helper.make_graph([node], "g", inputs, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    return dict(zip(outputs, session.run(outputs, tensors)))


def batch_first(name, t):
    if name in ("X", "initial_h", "initial_c", "Y_h", "Y_c"):
        return np.ascontiguousarray(t.transpose(1, 0, 2))
    return np.ascontiguousarray(t.transpose(2, 0, 1, 3)) if name == "Y" else t


def main():
    rng = np.random.default_rng(6)
    index, elements = [], []
    for number in range(CASES):
        op, attrs, tensors, layout, constant = random_case(rng, number)
        results = run(op, attrs, tensors)
        if not all(np.isfinite(t).all() for t in results.values()):
            raise SystemExit(f"case {number} is not finite: {op} {attrs}")
        if layout:
            attrs["layout"] = 1
        case = {"op": op, "attributes": attrs, "constant": constant, "inputs": {}, "outputs": {}}
        for group, members in (("inputs", tensors), ("outputs", results)):
            for name, t in members.items():
                t = batch_first(name, t) if layout else t
                case[group][name] = list(t.shape)
                elements.append(t.ravel().astype(np.float32))  # lengths are small numbers
        index.append(case)
    HERE.mkdir(exist_ok=True)
    np.save(HERE / "recurrent.npy", np.concatenate(elements))
    (HERE / "recurrent.json").write_text(
        "[\n" + ",\n".join(json.dumps(c) for c in index) + "\n]\n")


if __name__ == "__main__":
    main()
