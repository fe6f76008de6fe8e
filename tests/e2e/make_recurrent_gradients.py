#!/usr/bin/env python3
"""Writes data/recurrent_gradients.json and .npy: RNN, GRU and LSTM layers of random configurations
with results and gradients of PyTorch's autograd, computed in double precision; the second file has
the elements of all tensors, in order. Needs torch (tools/setup/peers.sh); last run with 2.15.

The loss is sum(Y * wY) + sum(Y_h * wY_h) + sum(Y_c * wY_c). Weights, biases and their gradients are
in ONNX's order of gates: iofc instead of ifgo, zrh instead of rzn.
"""
import json
import pathlib

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HERE = pathlib.Path(__file__).parent / "data"
CASES = 20
KINDS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
ORDER = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 3, 1, 2]}


def onnx_order(op, t):
    """Blocks of rows, one per gate, in ONNX's order."""
    gates = np.split(t, len(ORDER[op]), axis=0)
    return np.concatenate([gates[g] for g in ORDER[op]], axis=0)


def gathered(op, net, directions, which):
    """Parameters or their gradients as W, R, B."""
    suffixes = ["", "_reverse"][:directions]
    read = lambda name, s: onnx_order(op, which(getattr(net, f"{name}_l0{s}")).numpy())
    w = np.stack([read("weight_ih", s) for s in suffixes])
    r = np.stack([read("weight_hh", s) for s in suffixes])
    found = {"W": w, "R": r}
    if net.bias:
        found["B"] = np.stack([np.concatenate([read("bias_ih", s), read("bias_hh", s)])
                               for s in suffixes])
    return found


def make_case(rng, number):
    op = ["LSTM", "GRU", "RNN"][number % 3]
    directions = int(rng.integers(1, 3))
    steps, batch, features = int(rng.integers(2, 13)), int(rng.integers(1, 6)), int(rng.integers(1, 8))
    hidden = int(rng.choice([1, 3, 5, 8, 16, 19]))
    masked, initial, bias = rng.random() < 0.5, rng.random() < 0.5, rng.random() < 0.8
    torch.manual_seed(number)
    net = KINDS[op](features, hidden, bias=bool(bias), bidirectional=directions == 2).double()
    with torch.no_grad():  # values that f32 holds exactly
        for p in net.parameters():
            p.copy_(p.float())
    draw = lambda *shape: torch.from_numpy(
        rng.uniform(-1, 1, shape).astype(np.float32)).double().requires_grad_()
    x = draw(steps, batch, features)
    states = [draw(directions, batch, hidden) for _ in range(2 if op == "LSTM" else 1)]
    given = (states if initial else [])
    start = None if not initial else tuple(states) if op == "LSTM" else states[0]
    inputs = {"X": x.detach().numpy(), **gathered(op, net, directions, lambda p: p.detach())}
    if masked:
        lengths = rng.integers(1, steps + 1, batch)
        inputs["sequence_lens"] = lengths.astype(np.int32)
        packed = pack_padded_sequence(x, torch.from_numpy(lengths), enforce_sorted=False)
        y, last = net(packed, start)
        y, _ = pad_packed_sequence(y, total_length=steps)
    else:
        y, last = net(x, start)
    y = y.reshape(steps, batch, directions, hidden).permute(0, 2, 1, 3)
    outputs = {"Y": y, **dict(zip(["Y_h", "Y_c"], last if op == "LSTM" else [last]))}
    weights = {k: draw(*v.shape).detach() for k, v in outputs.items()}
    sum((outputs[k] * weights[k]).sum() for k in outputs).backward()
    names = ["initial_h", "initial_c"]
    inputs |= {k: v.detach().numpy() for k, v in zip(names, given)}
    gradients = {"X": x.grad.numpy(), **gathered(op, net, directions, lambda p: p.grad)}
    gradients |= {k: v.grad.numpy() for k, v in zip(names, given)}
    attributes = {"hidden_size": hidden}
    if directions == 2:
        attributes["direction"] = "bidirectional"
    if op == "GRU":
        attributes["linear_before_reset"] = 1
    return {"op": op, "attributes": attributes, "inputs": inputs,
            "weights": {k: v.numpy() for k, v in weights.items()},
            "outputs": {k: v.detach().numpy() for k, v in outputs.items()},
            "gradients": gradients}


def main():
    rng = np.random.default_rng(11)
    index, elements = [], []
    for number in range(CASES):
        case = make_case(rng, number)
        for group in ("inputs", "weights", "outputs", "gradients"):
            for name, t in case[group].items():
                elements.append(np.ascontiguousarray(t).ravel().astype(np.float32))
                case[group][name] = list(t.shape)
        index.append(case)
    HERE.mkdir(exist_ok=True)
    np.save(HERE / "recurrent_gradients.npy", np.concatenate(elements))
    (HERE / "recurrent_gradients.json").write_text(
        "[\n" + ",\n".join(json.dumps(c) for c in index) + "\n]\n")


if __name__ == "__main__":
    main()
