#!/usr/bin/env python3
"""Trains networks, and compares what ONNX Runtime makes of the exported models with Tintype's predictions.

usage: compare_export.py [--tintype build/release/tintype]

Needs a Python that has onnxruntime (tools/setup/peers.sh prints one). The networks have batch
normalisation, dropout and convolutions; the data are the digits of examples/data.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime

DIGITS = pathlib.Path(__file__).resolve().parents[2] / "examples/data/digits"
NETWORKS = {
    "mlp": ["--epochs", "2"],
    "lenet5": ["--resize", "28", "--epochs", "2", "--normalize", "mean=30,std=80"],
    "alexnet-one-tower": ["--resize", "64", "--epochs", "1"],  # dropout
    "resnet18": ["--resize", "32", "--epochs", "1", "--average", "ema,decay=0.9"],  # normalisation
    "autoencoder": ["--epochs", "2"],
}


def images_of(tintype, folder, run):
    """Inputs of the validation data as the run saw them: an identity model evaluated on them."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(f"{run}/model.onnx")
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", *shape]) for n in ("image", "same")]
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["same"])], "same", values[:1], values[1:])
    other = pathlib.Path(folder) / "identity"
    other.mkdir(exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10),
              str(other / "model.onnx"))
    for name in ("inputs.json", "config.json"):
        (other / name).write_text(pathlib.Path(f"{run}/{name}").read_text())
    subprocess.run([tintype, "evaluate", str(other), "--loss", "mse", "-o", f"{folder}/images"], check=True,
                   capture_output=True)
    return np.load(f"{folder}/images/predictions.npy")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tintype", default="build/release/tintype")
    options = parser.parse_args()
    failed = False
    for name, arguments in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            run = f"{folder}/run"
            subprocess.run([options.tintype, "train", name, "--data", str(DIGITS), "--validation-split", "0.1",
                            *arguments, "-o", run], check=True, capture_output=True)
            subprocess.run([options.tintype, "evaluate", run, "-o", f"{folder}/report"], check=True,
                           capture_output=True)
            got = np.load(f"{folder}/report/predictions.npy")
            session = onnxruntime.InferenceSession(f"{run}/model.onnx", providers=["CPUExecutionProvider"])
            want = session.run(None, {"image": images_of(options.tintype, folder, run)})[0]
            if name != "autoencoder":  # predictions are probabilities
                want = np.exp(want - want.max(1, keepdims=True))
                want /= want.sum(1, keepdims=True)
            error = np.abs(got - want).max()
            agree = (got.reshape(len(got), -1).argmax(1) == want.reshape(len(want), -1).argmax(1)).mean()
            failed = failed or not error <= 1e-4
            print(f"{name}: largest difference {error:.2g}, same answer for {100 * agree:.1f} %")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
