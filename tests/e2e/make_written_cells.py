#!/usr/bin/env python3
"""Writes data/written/NAME: recurrent cells written out by hand in the many ways in which people do,
as PyTorch's two exporters store them, with inputs and what ONNX Runtime computes, in the form of the
ONNX suite. Run it with the Python of the peers (tools/setup/peers.sh); last run with PyTorch 2.15. A
name ends in _script for the exporter that traces (dynamo=False) and in _dynamo for the newer one.

gradients.npz in some folders has what autograd, in double precision, says of sum(y * seed), y being
the first output: d_input, and d_NAME for each parameter.
"""
import copy
import pathlib
import shutil
import sys
import warnings

import numpy as np
import onnxruntime
import torch
from onnx import numpy_helper
from torch import nn

from make_exported_cases import draw, export, strip

HERE = pathlib.Path(__file__).parent / "data" / "written"
FEATURES, UNITS, STEPS = 4, 5, 6
torch.manual_seed(11)


def apart(units, bias=True, split=False):
    """x W + h U + b; with `split`, a bias for each product."""
    x = nn.Linear(FEATURES, units, bias=bias)
    h = nn.Linear(UNITS, units, bias=split)
    return nn.ModuleList([x, h])


def joined(units, bias=True, more=0):
    """[x h] W + b"""
    return nn.ModuleList([nn.Linear(FEATURES + UNITS + more, units, bias=bias)])


class Gate(nn.Module):
    """The argument of a gate, or of several at once, with weights apart or joined."""

    def __init__(self, form, units=UNITS, bias=True):
        super().__init__()
        self.form = form
        self.parts = (apart(units, bias, form == "apart, two biases") if form.startswith("apart")
                      else joined(units, bias))

    def forward(self, x, h):
        if self.form.startswith("apart"):
            return self.parts[0](x) + self.parts[1](h)
        return self.parts[0](torch.cat([h, x] if self.form == "state first" else [x, h], -1))


class Lstm(nn.Module):
    """One gate after the other."""

    def __init__(self, form, order="ifgo", bias=True, coupled=False, peepholes=False):
        super().__init__()
        self.gates = nn.ModuleDict({k: Gate(form, bias=bias) for k in order
                                    if not (coupled and k == "i")})
        self.coupled, self.peepholes = coupled, peepholes
        if peepholes:
            for k in "ifo":
                setattr(self, "p" + k, nn.Parameter(draw(UNITS)))

    def forward(self, x, state):
        h, c = state
        s = {k: gate(x, h) for k, gate in self.gates.items()}
        if self.peepholes:
            s["i"], s["f"] = s["i"] + self.pi * c, s["f"] + self.pf * c
        f, g = torch.sigmoid(s["f"]), torch.tanh(s["g"])
        c = f * c + (1 - f if self.coupled else torch.sigmoid(s["i"])) * g
        o = torch.sigmoid(s["o"] + self.po * c if self.peepholes else s["o"])
        h = o * torch.tanh(c)
        return h, (h, c)


class LstmAtOnce(nn.Module):
    """One product for all gates, cut apart behind it."""

    def __init__(self, form, order="ifgo", bias=True):
        super().__init__()
        self.gate, self.order = Gate(form, 4 * UNITS, bias), order

    def forward(self, x, state):
        h, c = state
        s = dict(zip(self.order, self.gate(x, h).chunk(4, -1)))
        c = torch.sigmoid(s["f"]) * c + torch.sigmoid(s["i"]) * torch.tanh(s["g"])
        h = torch.sigmoid(s["o"]) * torch.tanh(c)
        return h, (h, c)


class Gru(nn.Module):
    """With a reset gate before the product, as Cho et al. 2014, or behind it, as cuDNN."""

    def __init__(self, form, after=False, at_once=False, bias=True):
        super().__init__()
        self.after, self.at_once = after, at_once
        if at_once:
            self.zr = Gate(form, 2 * UNITS, bias)
        else:
            self.z, self.r = Gate(form, bias=bias), Gate(form, bias=bias)
        self.n = Gate("apart" if after else form, bias=bias)

    def forward(self, x, state):
        (h,) = state
        if self.at_once:
            z, r = torch.sigmoid(self.zr(x, h)).chunk(2, -1)
        else:
            z, r = torch.sigmoid(self.z(x, h)), torch.sigmoid(self.r(x, h))
        if self.after:
            n = torch.tanh(self.n.parts[0](x) + r * self.n.parts[1](h))
        else:
            n = torch.tanh(self.n(x, r * h))
        h = (1 - z) * n + z * h
        return h, (h,)


class Minimal(nn.Module):
    """The minimal gated unit (Zhou et al. 2016): one gate forgets, and says what is new."""

    def __init__(self, form):
        super().__init__()
        self.f, self.n = Gate(form), Gate(form)

    def forward(self, x, state):
        (h,) = state
        f = torch.sigmoid(self.f(x, h))
        h = h + f * (torch.tanh(self.n(x, f * h)) - h)
        return h, (h,)


class Update(nn.Module):
    """The GRU with its single update gate and nothing else."""

    def __init__(self, form):
        super().__init__()
        self.z, self.n = Gate(form), Gate(form)

    def forward(self, x, state):
        (h,) = state
        z = torch.sigmoid(self.z(x, h))
        h = (1 - z) * h + z * torch.tanh(self.n(x, h))
        return h, (h,)


class Elman(nn.Module):
    """PyTorch's tutorial on names: the output, too, reads input and state side by side."""

    def __init__(self):
        super().__init__()
        self.state, self.output = Gate("joined"), Gate("joined", 3)

    def forward(self, x, state):
        (h,) = state
        y = torch.log_softmax(self.output(x, h), -1)
        h = torch.tanh(self.state(x, h))
        return y, (h,)


class Steps(nn.Module):
    """A cell in a Python loop over x[N, T, F]."""

    def __init__(self, cell, states, backwards=False, take="index"):
        super().__init__()
        self.cell, self.states, self.backwards, self.take = cell, states, backwards, take

    def forward(self, x):
        rows = (x.size(0), 1) if self.take == "keep the axis" else (x.size(0),)
        state = tuple(x.new_zeros(*rows, UNITS) for _ in range(self.states))
        outputs = []
        steps = {"index": lambda t: x[:, t], "unbind": lambda t: parts[t],
                 "keep the axis": lambda t: x[:, t:t + 1]}[self.take]
        parts = x.unbind(1)
        order = range(x.size(1))
        for t in reversed(order) if self.backwards else order:
            y, state = self.cell(steps(t), state)
            outputs.append(y)
        if self.backwards:
            outputs.reverse()
        join = torch.cat if self.take == "keep the axis" else torch.stack
        return (join(outputs, 1), *state)


class Both(nn.Module):
    def __init__(self, there, back):
        super().__init__()
        self.there, self.back = there, back

    def forward(self, x):
        return torch.cat([self.there(x)[0], self.back(x)[0]], -1)


class Stacked(nn.Module):
    """Two layers in one loop: the second reads what the first has just put out."""

    def __init__(self, first, second, states):
        super().__init__()
        self.first, self.second, self.states = first, second, states
        self.narrow = nn.Linear(UNITS, FEATURES)

    def forward(self, x):
        a = b = tuple(x.new_zeros(x.size(0), UNITS) for _ in range(self.states))
        outputs = []
        for t in range(x.size(1)):
            y, a = self.first(x[:, t], a)
            y, b = self.second(self.narrow(y), b)
            outputs.append(y)
        return torch.stack(outputs, 1)


class OneSequence(nn.Module):
    """Vectors, multiplied from the left as textbooks do: W x + U h + b."""

    def __init__(self):
        super().__init__()
        for k in "ifgo":
            setattr(self, "w" + k, nn.Parameter(draw(UNITS, FEATURES)))
            setattr(self, "u" + k, nn.Parameter(draw(UNITS, UNITS)))
            setattr(self, "b" + k, nn.Parameter(draw(UNITS)))

    def forward(self, x):
        h = c = x.new_zeros(UNITS)
        outputs = []
        for t in range(x.size(0)):
            i, f, g, o = (getattr(self, "w" + k) @ x[t] + getattr(self, "u" + k) @ h
                          + getattr(self, "b" + k) for k in "ifgo")
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs)


@torch.jit.script
def scripted_steps(x, h, w, b):
    for t in range(x.size(1)):
        h = torch.tanh(torch.cat([x[:, t], h], 1) @ w + b)
    return h


class Scripted(nn.Module):
    """A loop in the model, which takes its steps from x by their number."""
    scripted = True

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(draw(FEATURES + UNITS, UNITS))
        self.b = nn.Parameter(draw(UNITS))

    def forward(self, x):
        h = x.new_zeros(x.size(0), self.b.size(0))
        return scripted_steps(x, h, self.w, self.b)


class Scanned(nn.Module):
    """PyTorch's scan: a loop in the model with a body of its own."""

    def __init__(self):
        super().__init__()
        self.cell = LstmAtOnce("joined")

    def forward(self, x):
        zeros = x.new_zeros(x.size(0), UNITS)

        def step(state, xt):
            h, state = self.cell(xt, state)
            return tuple(s.clone() for s in state), h
        (h, c), y = torch._higher_order_ops.scan(step, (zeros, zeros + 0), x.transpose(0, 1))
        return y, h, c


ONE_EXPORTER = {"scripted": "script", "scanned": "dynamo"}


def cases():
    """name, module, batch (None: not in the model)"""
    lstm = lambda *a, **k: Steps(Lstm(*a, **k), 2)
    yield "lstm_apart", lstm("apart"), None
    yield "lstm_two_biases", lstm("apart, two biases", "ogfi"), 1
    yield "lstm_joined", lstm("joined"), 2
    yield "lstm_joined_any_batch", lstm("joined"), None
    yield "lstm_state_first", lstm("state first", "gofi", bias=False), 1
    yield "lstm_at_once", Steps(LstmAtOnce("apart"), 2), 2
    yield "lstm_joined_at_once", Steps(LstmAtOnce("joined"), 2), 2
    yield "lstm_joined_at_once_any_batch", Steps(LstmAtOnce("state first", "ofig", False), 2), None
    yield "lstm_peepholes", lstm("joined", peepholes=True), 2
    yield "lstm_coupled", lstm("joined", coupled=True), 16
    yield "lstm_backwards", Steps(LstmAtOnce("joined"), 2, backwards=True), 2
    yield "lstm_unbind", Steps(Lstm("joined"), 2, take="unbind"), 2
    yield "lstm_keeps_axis", Steps(Lstm("joined"), 2, take="keep the axis"), 2
    yield ("lstm_both_ways", Both(Steps(LstmAtOnce("joined"), 2),
                                  Steps(LstmAtOnce("joined"), 2, backwards=True)), 2)
    yield "lstm_stacked", Stacked(LstmAtOnce("joined"), Lstm("joined"), 2), 2
    yield "lstm_vectors", OneSequence(), 0
    gru = lambda *a, **k: Steps(Gru(*a, **k), 1)
    yield "gru_apart", gru("apart"), 2
    yield "gru_apart_any_batch", gru("apart"), None
    yield "gru_joined", gru("joined"), 1
    yield "gru_joined_any_batch", gru("joined", bias=False), None
    yield "gru_joined_at_once", gru("state first", at_once=True), 16
    yield "gru_after", gru("apart, two biases", after=True), 2
    yield "gru_after_joined", gru("joined", after=True, at_once=True), 2
    yield "gru_backwards", Steps(Gru("joined"), 1, backwards=True), 2
    yield "gru_both_ways", Both(Steps(Gru("joined"), 1), Steps(Gru("joined"), 1, True)), 2
    yield "gru_stacked", Stacked(Gru("joined"), Gru("apart"), 1), 2
    yield "minimal_apart", Steps(Minimal("apart"), 1), 2
    yield "minimal_joined", Steps(Minimal("joined"), 1), None
    yield "update_apart", Steps(Update("apart"), 1), 2
    yield "update_joined", Steps(Update("joined"), 1), 2
    yield "scripted", Scripted(), 2
    yield "scanned", Scanned(), 2
    yield "elman", Steps(Elman(), 1), 2


GRADIENTS = ("lstm_joined_at_once", "lstm_peepholes", "gru_joined", "gru_backwards", "minimal_joined")


def record(module, x, folder):
    session = onnxruntime.InferenceSession(folder / "model.onnx",
                                           providers=["CPUExecutionProvider"])
    results = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        wanted = module(x)
    for a, b in zip(results, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-5, atol=1e-5)
    target = folder / "test_data_set_0"
    target.mkdir()
    for kind, tensors in (("input", [x.numpy()]), ("output", results)):
        for i, t in enumerate(tensors):
            proto = numpy_helper.from_array(np.ascontiguousarray(t), f"{kind}_{i}")
            (target / f"{kind}_{i}.pb").write_bytes(proto.SerializeToString())


def record_gradients(module, x, folder):
    exact = copy.deepcopy(module).double()
    x = x.double().requires_grad_()
    y = exact(x)[0]
    seed = draw(*y.shape)
    (y * seed).sum().backward()
    np.savez(folder / "gradients.npz", input=x.detach().float().numpy(), seed=seed.numpy(),
             d_input=x.grad.float().numpy(),
             **{"d_" + name: p.grad.float().numpy() for name, p in exact.named_parameters()})


def main():
    only = sys.argv[1:]
    if not only:
        shutil.rmtree(HERE, ignore_errors=True)
    for name, module, batch in cases():
        module.eval()
        if only and name not in only:
            continue
        rows = () if batch == 0 else (3 if batch is None else batch,)
        x = draw(*rows, STEPS, FEATURES)
        for how in ("script", "dynamo"):
            if how != ONE_EXPORTER.get(name, how):
                continue
            folder = HERE / f"{name}_{how}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                export(module, (x,), [{0: "N"} if batch is None else None], how,
                       str(folder / "model.onnx"))
            strip(folder / "model.onnx")
            record(module, x, folder)
            if name in GRADIENTS and how == "script":  # which keeps names and layout of weights
                record_gradients(module, x, folder)
            (folder / "data.json").write_text('{"rtol": 1e-5, "atol": 1e-5}\n')
            print(folder.name, (folder / "model.onnx").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
