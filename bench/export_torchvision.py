#!/usr/bin/env python3
"""Exports torchvision's classification networks to ONNX, by both of PyTorch's exporters.

usage: export_torchvision.py OUT_DIR [NAME...] [--exporters ts,dynamo,plain] [--seed 1] [--force]

Writes, outside the repository please (about 6 GB for all), batch dimension symbolic:
  OUT_DIR/ts/NAME.onnx        by the TorchScript exporter, which folds batch norms
  OUT_DIR/dynamo/NAME.onnx    by the torch.export exporter, which folds them too
  OUT_DIR/plain/NAME.onnx     by the TorchScript exporter with nothing folded; networks with norms
  OUT_DIR/NAME.input.npy, NAME.output.npy                  one image and PyTorch's answer
  OUT_DIR/NAME.batch3.input.npy, NAME.batch3.output.npy    the same for three
Weights are random from the seed, and batch-norm statistics are moved off their initial 0 and 1, so
that folding them shows in the numbers. Needs torch, torchvision, onnx and onnxscript.
"""

import argparse
import pathlib
import sys
import time
import warnings

import numpy as np
import torch
import torchvision

MODELS = ("alexnet", "vgg16", "vgg19", "vgg16_bn", "googlenet", "inception_v3", "resnet18",
          "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v2", "mobilenet_v3_small",
          "mobilenet_v3_large", "squeezenet1_1", "densenet121", "shufflenet_v2_x1_0",
          "efficientnet_b0", "convnext_tiny", "vit_b_16")
WITHOUT_NORMS = {"alexnet", "vgg16", "vgg19", "squeezenet1_1", "convnext_tiny", "vit_b_16"}
IMAGE_SIZE = {"inception_v3": 299}
# Auxiliary heads exist for training, and the truncated-normal initialisation of these two is slow.
ARGUMENTS = {"googlenet": {"aux_logits": False, "init_weights": False},
             "inception_v3": {"aux_logits": False, "init_weights": False}}
OPSET = {"ts": 17, "dynamo": 18, "plain": 17}


@torch.no_grad()
def build(name, seed):
    """The network in eval mode, as well conditioned as a trained one.

    With norms centred on zero, each ReLU layer multiplies rounding errors by about 1.2, which makes
    4e-4 of the output's scale in 152 layers; a positive shift brings that to 2e-6.
    """
    torch.manual_seed(seed)
    model = torchvision.models.get_model(name, weights=None, **ARGUMENTS.get(name, {})).eval()
    for norm in batch_norms(model):
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, 0.5, 0.2)
    enliven(model)
    calibrate(model, name)
    return model


def enliven(model):
    """Replaces the initial values that switch a part of the network off."""
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and not module.weight.any():  # vit's head
            torch.nn.init.xavier_normal_(module.weight)
        if hasattr(module, "layer_scale"):  # convnext's blocks start at a weight of 1e-6
            torch.nn.init.uniform_(module.layer_scale, 0.1, 0.5)


def batch_norms(model):
    return [module for module in model.modules()
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]


@torch.no_grad()
def calibrate(model, name):
    """Sets batch-norm statistics to those of a probe, times a random factor near 1, so that neither
    exploding nor vanishing activations hide an error at the output."""
    norms = batch_norms(model)
    if not norms:
        return
    factors = [torch.empty_like(norm.running_var).uniform_(0.7, 1.4) for norm in norms]

    def observe(norm, inputs):
        x = inputs[0]
        axes = [axis for axis in range(x.dim()) if axis != 1]
        norm.running_mean.copy_(x.mean(axes))
        norm.running_var.copy_(x.var(axes, unbiased=False) * factors[norms.index(norm)] + 1e-3)

    hooks = [norm.register_forward_pre_hook(observe) for norm in norms]
    model(example(name, 2))
    for hook in hooks:
        hook.remove()


def example(name, batch):
    size = IMAGE_SIZE.get(name, 224)
    return torch.randn(batch, 3, size, size)


@torch.no_grad()
def record(model, name, out):
    for batch, suffix in ((1, ""), (3, ".batch3")):
        x = example(name, batch)
        y = model(x)
        np.save(out / f"{name}{suffix}.input.npy", x.numpy())
        np.save(out / f"{name}{suffix}.output.npy", y.numpy())
    return y.std().item()


def export(model, name, exporter, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    common = {"input_names": ["image"], "output_names": ["logits"],
              "opset_version": OPSET[exporter]}
    if exporter in ("ts", "plain"):
        if exporter == "plain":
            common |= {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
        torch.onnx.export(model, (example(name, 1),), str(partial), dynamo=False,
                          dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}}, **common)
    else:
        # An example batch of 1 would be specialised to the constant 1.
        torch.onnx.export(model, (example(name, 2),), str(partial), dynamo=True,
                          external_data=False, dynamic_shapes=({0: torch.export.Dim("N")},),
                          verbose=False, **common)
    partial.rename(path)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("names", nargs="*", default=MODELS)
    parser.add_argument("--exporters", default="ts,dynamo,plain")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--force", action="store_true", help="export again what exists")
    options = parser.parse_args()
    unknown = set(options.names) - set(MODELS)
    if unknown:
        sys.exit(f"unknown networks {', '.join(sorted(unknown))}; known: {', '.join(MODELS)}")
    warnings.filterwarnings("ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    failures = 0
    for name in options.names:
        paths = {exporter: options.out / exporter / f"{name}.onnx"
                 for exporter in options.exporters.split(",")
                 if exporter != "plain" or name not in WITHOUT_NORMS}
        if not options.force and all(path.exists() for path in paths.values()):
            continue
        started = time.time()
        model = build(name, options.seed)
        spread = record(model, name, options.out)
        for exporter, path in paths.items():
            try:
                export(model, name, exporter, path)
            except Exception as error:  # one exporter failing must not cost the other networks
                failures += 1
                print(f"{name}: {exporter} failed: {error}", flush=True)
        print(f"{name}: {time.time() - started:.0f} s, output deviation {spread:.3g}", flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
