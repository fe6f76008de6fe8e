#!/usr/bin/env python3
"""Writes training.json and resnet18.json: losses of PyTorch 2.15 training the networks of tests/train/networks.h.

usage: make_training_fixtures.py FOLDER [training|resnet18]

Weights and data come from the generator below, which tests/train/networks.cpp repeats, so that the
fixture holds results only.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import torchvision
from torch import nn

MASK = (1 << 64) - 1


def mix(z):
    """SplitMix64's output function."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def uniform(seed, dims, low, high):
    """mix() of the words of `seed`, on whole arrays."""
    with np.errstate(over="ignore"):
        index = np.arange(1, int(np.prod(dims)) + 1, dtype=np.uint64)
        z = np.uint64(seed * 0x100000001 & MASK) + index * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(11)).astype(np.float64) * 2.0 ** -53
    return torch.tensor((low + (high - low) * u).astype(np.float32).reshape(dims))


def fill(model, seed=100, order=None):
    """Parameters in order: uniform within 1 / sqrt(fan in); scales of norms in [0.5, 1.5]."""
    parameters = list(model.named_parameters())
    if order:
        parameters.sort(key=lambda p: order(p[0]))
    with torch.no_grad():
        fan = 1
        for i, (name, p) in enumerate(parameters):
            if p.dim() > 1:
                fan = int(np.prod(p.shape[1:]))
            if p.dim() == 1 and name.endswith("weight"):
                p.copy_(uniform(seed + i, p.shape, 0.5, 1.5))
            else:
                bound = 1 / float(np.sqrt(fan))
                p.copy_(uniform(seed + i, p.shape, -bound, bound))
    return model


def labels_of(seed, count, classes):
    return torch.tensor([mix((seed * 0x100000001 + (i + 1) * 0x9E3779B97F4A7C15) & MASK) % classes
                         for i in range(count)])


def mlp():
    return fill(nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 5)))


def lenet():
    return fill(nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5),
                              nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.Tanh(),
                              nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)))


def normed():
    return fill(nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
                              nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)))


def resnet18():
    """torchvision's; a block of the zoo begins with its projection."""
    def order(name):
        layer, *rest = name.split(".")
        at = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"].index(layer)
        inner = ["downsample", "conv1", "bn1", "conv2", "bn2"].index(rest[1]) if at in range(2, 6) else 0
        return at, int(rest[0]) if at in range(2, 6) else 0, inner

    model = fill(torchvision.models.resnet18(num_classes=10), order=order)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = RESNET_EPSILON
    return model


class Recurrent(nn.Module):
    """An LSTM whose parameters have ONNX's shapes and order of gates, and a classifier."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.empty(1, 32, 6))
        self.r = nn.Parameter(torch.empty(1, 32, 8))
        self.b = nn.Parameter(torch.empty(1, 64))
        self.output = nn.Linear(8, 3)
        self.lstm = [nn.LSTM(6, 8, batch_first=True)]  # in a list: its own parameters do not count

    def forward(self, x):
        rows = lambda v: torch.cat([v.chunk(4)[i] for i in (0, 2, 3, 1)])
        parameters = {"weight_ih_l0": rows(self.w[0]), "weight_hh_l0": rows(self.r[0]),
                      "bias_ih_l0": rows(self.b[0, :32]), "bias_hh_l0": rows(self.b[0, 32:])}
        y, _ = torch.func.functional_call(self.lstm[0], parameters, (x,))
        return self.output(y[:, -1])


def lstm():
    return fill(Recurrent())


DATA = {"mlp": ((20,), 5), "lenet": ((1, 28, 28), 10), "normed": ((2, 8, 8), 3), "resnet18": ((3, 32, 32), 10),
        "lstm": ((5, 6), 3)}
OPTIMIZERS = {
    "sgd,lr=0.05,momentum=0.9,weight_decay=0.0005":
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=5e-4),
    "adam,lr=0.002": lambda p: torch.optim.Adam(p, 0.002),
}
EXAMPLES, BATCH = 24, 8

# ResNet-18's last stage normalises over 8 numbers here. With the usual epsilon of 1e-5 and rates, PyTorch in f32 leaves
# PyTorch in f64 by more than 1e-4 within 3 to 4 steps, and by 1e-3 to 1e-1 within 100: there is no curve to be compared
# with. At this epsilon and these rates it stays within RESNET_CHAOS, a fifth of the tolerance, which main() asserts: at a
# rate of 0.01 the two were 2.8e-5 apart on one processor and 4.7e-5 on another, after 99 steps.
RESNET_EPSILON = 1.0
RESNET_OPTIMIZERS = {
    "sgd,lr=0.005,momentum=0.9,weight_decay=0.0005":
        lambda p: torch.optim.SGD(p, 0.005, momentum=0.9, weight_decay=5e-4),
    "adam,lr=0.00002": lambda p: torch.optim.Adam(p, 2e-5),
}
RESNET_CHAOS = 2e-5


def train(make, name, optimizer_of, steps, clip=None, group=None, dtype=torch.float32):
    dims, classes = DATA[name]
    x = uniform(7, (EXAMPLES, *dims), -1, 1).to(dtype)
    t = labels_of(8, EXAMPLES, classes)
    torch.set_num_threads(1)
    model = make().train().to(dtype)
    parameters = model.parameters() if group is None else group(model)
    optimizer = optimizer_of(parameters)
    losses = []
    for i in range(steps):
        at = i * BATCH % EXAMPLES
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[at:at + BATCH]), t[at:at + BATCH])
        loss.backward()
        if clip:
            clip(model.parameters())
        optimizer.step()
        losses.append(float(f"{loss.item():.9g}"))
    return model, losses


def resnet_curves(folder):
    out = {"examples": EXAMPLES, "batch": BATCH, "epsilon": RESNET_EPSILON, "losses": []}
    for spec, optimizer in RESNET_OPTIMIZERS.items():
        _, losses = train(resnet18, "resnet18", optimizer, 100)
        _, exact = train(resnet18, "resnet18", optimizer, 100, dtype=torch.float64)
        apart = max(abs(a - b) / abs(b) for a, b in zip(losses, exact))
        print(f"resnet18, {spec}: f32 and f64 differ by {apart:.2g} at most; loss {losses[0]:.4g} to {losses[-1]:.4g}")
        assert apart < RESNET_CHAOS
        out["losses"].append({"network": "resnet18", "optimizer": spec, "losses": losses})
    save(out, folder / "resnet18.json")


def save(out, path):
    path.write_text(json.dumps(out).replace("}, {", "},\n{") + "\n")


def main():
    folder = pathlib.Path(sys.argv[1])
    wanted = sys.argv[2:] or ["training", "resnet18"]
    if "training" in wanted:
        small_curves(folder)
    if "resnet18" in wanted:
        resnet_curves(folder)


def small_curves(folder):
    out = {"examples": EXAMPLES, "batch": BATCH, "losses": []}
    for name, make in (("mlp", mlp), ("lenet", lenet), ("normed", normed), ("lstm", lstm)):
        for spec, optimizer in OPTIMIZERS.items():
            model, losses = train(make, name, optimizer, 100)
            out["losses"].append({"network": name, "optimizer": spec, "losses": losses})
    model, _ = train(normed, "normed", lambda p: torch.optim.SGD(p, 0.05), 5)
    out["running_mean"] = [float(f"{v:.9g}") for v in model[1].running_mean.tolist()]
    out["running_var"] = [float(f"{v:.9g}") for v in model[1].running_var.tolist()]
    sgd = lambda p: torch.optim.SGD(p, 0.5)
    clips = {
        "value=0.01": lambda p: nn.utils.clip_grad_value_(p, 0.01),
        "global_norm=0.1": lambda p: nn.utils.clip_grad_norm_(p, 0.1),
        "norm=0.05": lambda ps: [nn.utils.clip_grad_norm_(p, 0.05) for p in ps],
    }
    out["clipped"] = [{"clip": k, "losses": train(mlp, "mlp", sgd, 20, clip=c)[1]} for k, c in clips.items()]
    groups = lambda m: [{"params": [p for n, p in m.named_parameters() if n.endswith("bias")], "lr": 0.1,
                         "weight_decay": 0.0},
                        {"params": [p for n, p in m.named_parameters() if not n.endswith("bias")]}]
    out["groups"] = train(mlp, "mlp", lambda p: torch.optim.SGD(p, 0.2, weight_decay=0.1), 20, group=groups)[1]
    save(out, folder / "training.json")


if __name__ == "__main__":
    main()
