#!/usr/bin/env python3
"""Writes data/exported/NAME: recurrent networks, control flow, attention and arithmetic on extents as
PyTorch's two exporters store them, with inputs and what PyTorch computes, in the form of the ONNX
suite. Run it with the Python of the peers (tools/setup/peers.sh); last run with PyTorch 2.15. A name
ends in _script for the exporter that traces or scripts (dynamo=False) and in _dynamo for the newer one.
"""
import json
import math
import pathlib
import shutil
import sys
import warnings

import numpy as np
import onnx
import torch
import torchvision
from onnx import numpy_helper
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HERE = pathlib.Path(__file__).parent / "data" / "exported"
BOTH = ("script", "dynamo")
torch.manual_seed(5)


class Recurrent(nn.Module):
    """A layer of PyTorch's, with everything that it returns as outputs."""

    def __init__(self, kind, *sizes, **options):
        super().__init__()
        self.net = kind(*sizes, **options)

    def forward(self, x, h=None, c=None):
        y, last = self.net(x, h if c is None else (h, c))
        return (y, *last) if isinstance(last, tuple) else (y, last)


class Packed(nn.Module):
    """Sequences of several lengths, packed and padded again."""

    def __init__(self, kind, enforce_sorted, **options):
        super().__init__()
        self.net = kind(4, 5, batch_first=True, **options)
        self.enforce_sorted = enforce_sorted

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True,
                                      enforce_sorted=self.enforce_sorted)
        y, last = self.net(packed)
        y, _ = pad_packed_sequence(y, batch_first=True, total_length=x.size(1))
        return y, last[0] if isinstance(last, tuple) else last


class CellByHand(nn.Module):
    """The three gates of an LSTM cell as eight layers, in a Python loop."""

    def __init__(self, features, units):
        super().__init__()
        for gate in "fico":
            setattr(self, "x" + gate, nn.Linear(features, units))
            setattr(self, "h" + gate, nn.Linear(units, units, bias=False))

    def forward(self, x, h, c):
        outputs = []
        for t in range(x.size(1)):
            step = x[:, t]
            f, i, g, o = (getattr(self, "x" + k)(step) + getattr(self, "h" + k)(h) for k in "fico")
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, 1), h, c


class Cells(nn.Module):
    """PyTorch's own cells in a Python loop."""

    def __init__(self, kind, features, units):
        super().__init__()
        self.cell = kind(features, units)

    def forward(self, x):
        state, outputs = None, []
        for t in range(x.size(1)):
            state = self.cell(x[:, t], state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs, 1)


@torch.jit.script
def scripted_loop(x, h, w):
    for i in range(x.size(0)):
        h = torch.tanh(x[i] + h @ w)
    return h


@torch.jit.script
def scripted_branch(x):
    if bool(x.sum() > 0):
        y = x * 2
    else:
        y = x - 1
    return y


class Loop(nn.Module):
    scripted = True

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(draw(5, 5) / 2)

    def forward(self, x, h):
        return scripted_loop(x, h, self.w)


class Branch(nn.Module):
    scripted = True

    def forward(self, x):
        return scripted_branch(x)


class Condition(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda v: v * 2, lambda v: v - 1, (x,))


class Scan(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(draw(5, 5) / 2)

    def forward(self, x, h):
        def step(s, v):
            following = torch.tanh(v + s @ self.w)
            return following, following.clone()
        last, y = torch._higher_order_ops.scan(step, h, x)
        return y, last


class Attention(nn.Module):
    """A layer of PyTorch's, from a sequence to itself."""

    def __init__(self, features, heads):
        super().__init__()
        self.net = nn.MultiheadAttention(features, heads, batch_first=True)

    def forward(self, x):
        return self.net(x, x, x, need_weights=False)[0]


class CausalByHand(nn.Module):
    """As decoders are written out: one product for queries, keys and values, and a mask."""

    def __init__(self, features, heads, longest):
        super().__init__()
        self.heads = heads
        self.inside = nn.Linear(features, 3 * features)
        self.outside = nn.Linear(features, features)
        self.register_buffer("seen", torch.tril(torch.ones(longest, longest)).bool())

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = (y.view(n, t, self.heads, c // self.heads).transpose(1, 2)
                   for y in self.inside(x).split(c, dim=2))
        scores = q @ k.transpose(-2, -1) / math.sqrt(k.size(-1))
        scores = scores.masked_fill(~self.seen[:t, :t], float("-inf"))
        y = torch.softmax(scores, dim=-1) @ v
        return self.outside(y.transpose(1, 2).reshape(n, t, c))


class Masked(nn.Module):
    """PyTorch's function, with a mask of what may be seen."""

    def forward(self, q, k, v, seen):
        return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)


class Windows(nn.Module):
    """Padded to whole windows and cut into them, as in Swin transformers."""

    def forward(self, x):
        n, h, w, c = x.shape
        x = nn.functional.pad(x, (0, 0, 0, (4 - w % 4) % 4, 0, (4 - h % 4) % 4))
        x = x.reshape(n, (h + 3) // 4, 4, (w + 3) // 4, 4, c)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)


class Strided(nn.Module):
    """Heads of what is left of an image, whose sides the newer exporter writes as (H - 1) // 2 + 1."""

    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(2, 6, 3, stride=2, padding=1)

    def forward(self, x):
        y = self.net(x)
        return y.view(y.shape[0], 3, 2, y.shape[2], y.shape[3]).mean(2)


class Patches(nn.Module):
    """Scaled to whole patches, as in MobileViT: the older exporter divides in floating point."""

    def forward(self, x):
        n, c, h, w = x.shape
        high, wide = ((torch.ceil(torch.as_tensor(extent) / patch) * patch).long()
                      for extent, patch in ((h, 3), (w, 2)))
        x = nn.functional.interpolate(x, size=(high, wide), mode="bilinear", align_corners=False)
        x = x.reshape(n * c * (high // 3), 3, wide // 2, 2).transpose(1, 2)
        return x.reshape(n, c, -1, 6).transpose(1, 3)


class Repeats(nn.Module):
    """Repeated as often as an image is wide, which exporters pick the axis for by OneHot."""

    def forward(self, x, y):
        return y.repeat_interleave(x.shape[1], 0) + x.reshape(-1, 1)


class Spectrogram(nn.Module):
    """What audio networks begin with."""

    def forward(self, x):
        y = torch.stft(x, 16, 4, window=torch.hann_window(16), return_complex=False)
        return torch.sqrt(y.pow(2).sum(-1) + 1)


class LastSteps(nn.Module):
    """Bounds of slices that count from the end, by numbers that depend on inputs."""

    def forward(self, x, y):
        return (x[:, -(x.shape[1] // 2):], x[:, -y.shape[0]:], x[:, x.shape[1] - y.shape[0]:],
                x.view(y.shape[0], -1))


def vision_transformer():
    net = torchvision.models.VisionTransformer(8, 4, 2, 2, 8, 16, num_classes=3)
    torch.nn.init.xavier_normal_(net.heads.head.weight)
    return net


def draw(*shape):
    return torch.rand(*shape) * 2 - 1


def lengths(*values):
    return torch.tensor(values)


def cases():
    """name, module, list of input tuples (the first is what is exported), dynamic axes by input."""
    batch_time = {0: "N", 1: "T"}
    yield ("lstm_stacked_both_ways", Recurrent(nn.LSTM, 4, 5, 2, bidirectional=True,
                                               batch_first=True),
           [(draw(2, 6, 4),), (draw(3, 4, 4),)], [batch_time], BOTH)
    yield ("lstm_states", Recurrent(nn.LSTM, 4, 5),
           [(draw(6, 2, 4), draw(1, 2, 5), draw(1, 2, 5)),
            (draw(3, 3, 4), draw(1, 3, 5), draw(1, 3, 5))],
           [{0: "T", 1: "N"}, {1: "N"}, {1: "N"}], BOTH)
    yield ("gru_stacked", Recurrent(nn.GRU, 4, 6, 2, batch_first=True, bias=False),
           [(draw(2, 6, 4),), (draw(1, 3, 4),)], [batch_time], BOTH)
    yield ("gru_both_ways_states", Recurrent(nn.GRU, 3, 4, bidirectional=True),
           [(draw(5, 2, 3), draw(2, 2, 4))], [None, None], BOTH)
    yield ("rnn_relu_both_ways", Recurrent(nn.RNN, 4, 5, nonlinearity="relu", bidirectional=True,
                                           batch_first=True),
           [(draw(2, 6, 4),), (draw(3, 6, 4),)], [{0: "N"}], BOTH)  # the newer fixes the steps
    yield ("rnn_one_sequence", Recurrent(nn.RNN, 4, 5), [(draw(6, 4),)], [None], BOTH)
    yield ("lstm_packed", Packed(nn.LSTM, True),
           [(draw(3, 6, 4), lengths(6, 4, 1)), (draw(2, 5, 4), lengths(5, 2))],
           [batch_time, {0: "N"}], ("script",))
    yield ("gru_packed_both_ways", Packed(nn.GRU, True, bidirectional=True),
           [(draw(3, 6, 4), lengths(6, 4, 1)), (draw(2, 5, 4), lengths(5, 2))],
           [batch_time, {0: "N"}], ("script",))
    yield ("lstm_packed_unsorted", Packed(nn.LSTM, False),
           [(draw(3, 6, 4), lengths(2, 6, 4))], [None, None], ("script",))
    yield ("cell_by_hand", CellByHand(4, 5), [(draw(2, 7, 4), draw(2, 5), draw(2, 5))],
           [None] * 3, BOTH)
    yield "lstm_cells", Cells(nn.LSTMCell, 4, 5), [(draw(2, 7, 4),)], [None], BOTH
    yield "gru_cells", Cells(nn.GRUCell, 4, 5), [(draw(2, 7, 4),)], [None], BOTH
    yield "rnn_cells", Cells(nn.RNNCell, 4, 5), [(draw(2, 7, 4),)], [None], BOTH
    yield ("loop", Loop(),
           [(draw(6, 2, 5), draw(2, 5)), (draw(3, 2, 5), draw(2, 5))], [{0: "T"}, None],
           ("script",))
    yield ("if", Branch(), [(draw(3, 4) + 1,), (draw(3, 4) - 1,)], [None],
           ("script",))
    yield "if", Condition(), [(draw(3, 4) + 1,), (draw(3, 4) - 1,)], [None], ("dynamo",)
    yield ("scan", Scan(), [(draw(6, 2, 5), draw(2, 5))], [None, None],
           ("dynamo",))
    yield ("attention", Attention(8, 2), [(draw(2, 5, 8),), (draw(3, 5, 8),)], [{0: "N"}], BOTH)
    yield ("attention_causal", CausalByHand(8, 2, 7), [(draw(2, 5, 8),)], [None], BOTH)
    yield ("attention_masked", Masked(),
           [(draw(2, 3, 4, 8), draw(2, 3, 5, 8), draw(2, 3, 5, 8),
             torch.tensor([[True, False, True, True, False]] * 3 + [[False] * 4 + [True]]))],
           [None] * 4, BOTH)  # the newer has no zeros where nothing is seen: it masks with -3e38
    yield ("attention_vit", vision_transformer(), [(draw(2, 3, 8, 8),)], [None], BOTH)
    yield ("windows", Windows(), [(draw(2, 7, 9, 3),), (draw(1, 8, 4, 3),), (draw(3, 1, 5, 3),)],
           [{0: "N", 1: "H", 2: "W"}], BOTH)
    yield ("strided", Strided(), [(draw(2, 2, 9, 8),), (draw(1, 2, 1, 7),)],
           [{0: "N", 2: "H", 3: "W"}], BOTH)
    yield ("patches", Patches(), [(draw(2, 2, 7, 5),), (draw(1, 2, 3, 4),)],
           [{0: "N", 2: "H", 3: "W"}], ("script",))
    yield ("repeats", Repeats(), [(draw(3, 4), draw(3, 5)), (draw(1, 2), draw(1, 5))],
           [{0: "N", 1: "W"}, {0: "N"}], ("script",))
    yield ("last_steps", LastSteps(),
           [(draw(2, 6, 3), draw(4)), (draw(1, 6, 3), draw(1)), (draw(1, 4, 3), draw(3))],
           [batch_time, {0: "M"}], BOTH)
    yield "spectrogram", Spectrogram(), [(draw(2, 60),), (draw(1, 60),)], [{0: "N"}], ("script",)


def export(module, inputs, axes, how, path):
    names = [f"x{i}" for i in range(len(inputs))]
    if how == "script":
        target = torch.jit.script(module) if getattr(module, "scripted", False) else module
        dynamic = {n: a for n, a in zip(names, axes) if a}
        torch.onnx.export(target, inputs, path, dynamo=False, input_names=names,
                          dynamic_axes=dynamic, opset_version=17)
    else:
        shapes = None
        if any(axes):
            dims = {}
            shapes = tuple(
                {k: dims.setdefault(s, torch.export.Dim.DYNAMIC) for k, s in (a or {}).items()}
                for a in axes)
        torch.onnx.export(module, inputs, path, dynamo=True, input_names=names,
                          dynamic_shapes=shapes, external_data=False, verbose=False)


def record(module, data, folder):
    for number, inputs in enumerate(data):
        target = folder / f"test_data_set_{number}"
        target.mkdir()
        with torch.no_grad():
            results = module(*inputs)
        results = results if isinstance(results, tuple) else (results,)
        for kind, tensors in (("input", inputs), ("output", results)):
            for i, t in enumerate(tensors):
                proto = numpy_helper.from_array(np.ascontiguousarray(t.numpy()), f"{kind}_{i}")
                (target / f"{kind}_{i}.pb").write_bytes(proto.SerializeToString())


def strip(path):
    """Metadata of the exporter (stack traces of this machine) is no part of the model."""
    model = onnx.load(path)
    graphs = [model.graph, *model.functions]
    while graphs:
        g = graphs.pop()
        for n in g.node:
            n.doc_string = ""
            del n.metadata_props[:]
            graphs += [a.g for a in n.attribute if a.HasField("g")]
        del g.value_info[:]
        del g.metadata_props[:]
        for v in [*getattr(g, "input", []), *getattr(g, "output", [])]:
            if hasattr(v, "metadata_props"):
                del v.metadata_props[:]
    onnx.save(model, path)


def main():
    only = sys.argv[1:]
    shutil.rmtree(HERE, ignore_errors=True) if not only else None
    for name, module, data, axes, exporters in cases():
        module.eval()
        for how in exporters:
            full = f"{name}_{how}"
            if only and full not in only:
                continue
            folder = HERE / full
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    export(module, data[0], axes, how, str(folder / "model.onnx"))
                strip(folder / "model.onnx")
                record(module, data, folder)
                (folder / "data.json").write_text(json.dumps({"rtol": 1e-5, "atol": 1e-6}) + "\n")
                print(full, (folder / "model.onnx").stat().st_size, "bytes")
            except Exception as e:  # what an exporter refuses is said, not hidden
                shutil.rmtree(folder)
                print(full, "REFUSED:", str(e).strip().splitlines()[0][:200])


if __name__ == "__main__":
    main()
