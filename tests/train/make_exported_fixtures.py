#!/usr/bin/env python3
"""Writes exported/*.onnx and exported.json: networks as PyTorch's two exporters write them, and the losses of
PyTorch training them with all data in every step, SGD.

usage: make_exported_fixtures.py FOLDER

What the networks have in common is numbers that are no parameters: constants of formulas, buffers, and the scales
of ones that stand for no scale.
"""

import json
import pathlib
import sys

import onnx
import torch
from torch import nn

STEPS, RATE, SAMPLES, CLASSES = 30, 0.1, 16, 3


class GroupNorm(nn.Module):
    """Exported as an InstanceNormalization with ones and zeros, and a product and a sum."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(2, 8, 3, padding=1), nn.GroupNorm(4, 8), nn.Linear(200, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.conv(x))).flatten(1))


class Transformer(nn.Module):
    """Exported with 1 / sqrt(head_dim) written out."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        return self.fc(self.encoder(x).mean(1))


class Factors(nn.Module):
    """Buffers of a normalisation, a scale that is a parameter, numbers in the code."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, CLASSES)
        self.scale = nn.Parameter(torch.ones(8))
        self.register_buffer("mean", torch.randn(5))
        self.register_buffer("std", torch.rand(5) + 0.5)

    def forward(self, x):
        x = self.first((x - self.mean) / self.std) * torch.tensor([2.0]) * self.scale
        return self.last(torch.tanh(x) * torch.tensor([1.0, 2.0] * 4))


class BatchNorm(nn.Module):
    """Exported in training mode, with the statistics as results."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Linear(36, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.conv(x))).flatten(1))


NETWORKS = {"group_norm": (GroupNorm, (2, 5, 5)), "transformer": (Transformer, (4, 8)), "factors": (Factors, (5,)),
            "batch_norm": (BatchNorm, (2, 5, 5))}


def export(model, x, path, dynamo):
    names = {"input_names": ["x"], "output_names": ["y"]}
    if dynamo:
        torch.onnx.export(model, (x,), path, dynamo=True, external_data=False, verbose=False,
                          dynamic_shapes=({0: torch.export.Dim("N")},), **names)
    else:
        torch.onnx.export(model, (x,), path, dynamo=False, training=torch.onnx.TrainingMode.TRAINING,
                          do_constant_folding=not isinstance(model, BatchNorm), dynamic_axes={"x": {0: "N"}}, **names)
    stored = onnx.load(path)
    for node in stored.graph.node:  # where in this machine's files it came from
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.save(stored, path)


def losses_of(model, x, target):
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main():
    folder = pathlib.Path(sys.argv[1])
    (folder / "exported").mkdir(exist_ok=True)
    results = {}
    for number, (name, (network, shape)) in enumerate(NETWORKS.items()):
        torch.manual_seed(number)
        model = network()
        with torch.no_grad():  # equal tensors would be merged
            for p in model.parameters():
                if p.dim() == 1:
                    p.add_(0.2 * torch.randn(p.shape))
        x = (1000 * torch.randn(SAMPLES, *shape)).round() / 1000
        target = torch.randint(CLASSES, (SAMPLES,))
        model.train()
        for how in ["torchscript"] + ["dynamo"] * (name != "batch_norm"):
            export(model, x, str(folder / "exported" / f"{name}_{how}.onnx"), how == "dynamo")
        start = {k: v.clone() for k, v in model.state_dict().items()}
        losses = losses_of(model, x, target)
        model.load_state_dict(start)
        results[name] = {"x": [round(v, 3) for v in x.flatten().tolist()], "shape": list(x.shape),
                         "target": target.tolist(), "losses": losses}
    (folder / "exported.json").write_text(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
