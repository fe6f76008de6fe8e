#!/usr/bin/env python3
"""Compares the time of one training step with PyTorch's, eager and torch.compile.

usage: train_peers.py [--networks mlp,lenet5,resnet18,lstm] [--threads 2] [--rounds 3] [--seconds 1]
                      [--tintype build/release/tintype] [--no-compile] [--json FILE] [--markdown FILE]

A step is forward, backward and an update of SGD with momentum 0.9, on random data that is already
in memory. Every measurement is a process of its own, and only one runs at a time; a round measures
each engine once. The ratio is the median over the rounds of (better of PyTorch's two medians /
Tintype's median). Compile caches are empty in the first round, which gives the time to the first
step ready (of torch.compile: to the first step done), and filled in the others. Memory is the least
of the rounds' peaks in MB, so without the compilers; PyTorch's less what its import alone takes. Run
it with a Python that has torch and torchvision (tools/setup/peers.sh prints one).
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

NETWORKS = {  # batch, shape of an example, classes, title
    "mlp": (128, (784,), 10, "MLP 784-512-512-10"),
    "lenet5": (64, (1, 28, 28), 10, "LeNet-5, 28x28"),
    "resnet18": (16, (3, 64, 64), 10, "ResNet-18, 64x64"),
    "lstm": (64, (28, 28), 10, "LSTM, 28 steps of 28, 128 units"),
}


def network(name, nn):
    if name == "mlp":
        return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
                             nn.Linear(512, 10))
    if name == "lenet5":
        return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
                             nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(),
                             nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(),
                             nn.Linear(84, 10))
    if name == "lstm":

        class LastState(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(28, 128, batch_first=True)
                self.output = nn.Linear(128, 10)

            def forward(self, x):
                return self.output(self.lstm(x)[0][:, -1])

        return LastState()
    import torchvision

    return torchvision.models.resnet18(num_classes=10)


def median_step(step, seconds):
    for _ in range(5):
        step()
    times = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(times) < 5:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def torch_worker(name, compiled, threads, seconds):
    import torch

    torch.set_num_threads(threads)
    # What the import holds, not its peak: that may be above all that follows.
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    base = pages * resource.getpagesize() // 1024
    batch, shape, classes, _ = NETWORKS[name]
    model = network(name, torch.nn)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x = torch.randn(batch, *shape)
    y = torch.randint(0, classes, (batch,))

    def forward(x, y):
        return torch.nn.functional.cross_entropy(model(x), y)

    run = torch.compile(forward) if compiled else forward

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = run(x, y)
        loss.backward()
        optimizer.step()

    start = time.perf_counter()
    step()
    first = time.perf_counter() - start
    median = median_step(step, seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"median_ms": median, "first_ms": first * 1e3,
                      "peak_rss_mb": (peak - base) * 1024 / 1e6}))


def save_step(tintype, name, folder):
    """The training step as a graph, made from a dataset with one batch of the right shape."""
    import numpy as np

    batch, shape, classes, _ = NETWORKS[name]
    np.save(f"{folder}/x.npy", np.random.default_rng(0).standard_normal((batch, *shape), np.float32))
    np.save(f"{folder}/y.npy", (np.arange(batch) % classes).astype(np.int64))
    np.save(f"{folder}/rate.npy", np.float32(1e-3))
    model = name
    if name != "lenet5":  # the same network as PyTorch's, from PyTorch
        import torch

        model = f"{folder}/{name}.onnx"
        torch.onnx.export(network(name, torch.nn).eval(), torch.zeros(1, *shape), model, dynamo=False,
                          input_names=["image"], output_names=["scores"],
                          do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
                          dynamic_axes={"image": {0: "N"}, "scores": {0: "N"}})
    step = f"{folder}/{name}.ir"
    subprocess.run([tintype, "train", model, "--data", f"{folder}/x.npy", f"{folder}/y.npy",
                    "--epochs", "1", "--batch", str(batch), "--optimizer", "sgd,lr=1e-3,momentum=0.9",
                    "--save-step", step, "-o", f"{folder}/{name}-run"], check=True, capture_output=True)
    return step


def measure(engine, name, options, step):
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    if engine == "tintype":
        # Weights must stay finite: infinite or denormal ones take other time than those of training.
        folder = pathlib.Path(step).parent
        command = [options.tintype, "bench", step, "--threads", str(options.threads), "--batch",
                   str(NETWORKS[name][0]), "--seconds", str(options.seconds), "--json", "-",
                   "--cache", f"{folder}/{name}-kernels",
                   "--input", f"learning_rate={folder}/rate.npy",
                   "--input", f"target={folder}/y.npy"]
    else:
        command = [sys.executable, __file__, "--worker", engine, "--networks", name, "--threads",
                   str(options.threads), "--seconds", str(options.seconds)]
        environment["TORCHINDUCTOR_CACHE_DIR"] = f"{pathlib.Path(step).parent}/{name}-inductor"
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"{engine} on {name}: {done.stderr.strip()[-800:]}")
    found = json.loads(done.stdout[done.stdout.index("{"):])
    if engine == "tintype":
        found["first_ms"] = found["compile_ms"] + found["load_ms"]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", default="mlp,lenet5,resnet18,lstm")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--tintype", default="build/release/tintype")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--json")
    parser.add_argument("--markdown")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return torch_worker(options.networks, options.worker == "compiled", options.threads,
                            options.seconds)
    engines = ["tintype", "eager"] + ([] if options.no_compile else ["compiled"])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.networks.split(","):
            step = save_step(options.tintype, name, folder)
            rounds = [{e: measure(e, name, options, step) for e in engines}
                      for _ in range(options.rounds)]
            middle = {e: statistics.median(r[e]["median_ms"] for r in rounds) for e in engines}
            ratio = statistics.median(
                min(r[e]["median_ms"] for e in engines[1:]) / r["tintype"]["median_ms"]
                for r in rounds)
            memory = {e: min(r[e]["peak_rss_mb"] for r in rounds) for e in engines}
            cold = {e: rounds[0][e]["first_ms"] for e in engines if e != "eager"}
            warm = {e: rounds[-1][e]["first_ms"] for e in engines if e != "eager"}
            spread = [min(r[e]["median_ms"] for e in engines[1:]) / r["tintype"]["median_ms"]
                      for r in rounds]
            rows.append({"network": name, "threads": options.threads, "batch": NETWORKS[name][0],
                         "median_ms": middle, "ratio": ratio,
                         "ratio_low": min(spread), "ratio_high": max(spread),
                         "peak_rss_mb": memory, "cold_ms": cold, "warm_ms": warm,
                         "rounds": rounds})
    prepared = [e for e in engines if e != "eager"]
    lines = ["| step | batch | " + " | ".join(f"{e} ms" for e in engines) + " | ratio | "
             + " | ".join(f"{e} MB" for e in engines) + " | "
             + " | ".join(f"{e} cold s" for e in prepared) + " |",
             "|---" * (3 + 2 * len(engines) + len(prepared)) + "|"]
    for r in rows:
        batch, _, _, title = NETWORKS[r["network"]]
        lines.append(f"| {title} | {batch} | "
                     + " | ".join(f"{r['median_ms'][e]:.2f}" for e in engines)
                     + f" | {r['ratio']:.2f} ({r['ratio_low']:.2f}-{r['ratio_high']:.2f}) | "
                     + " | ".join(f"{r['peak_rss_mb'][e]:.0f}" for e in engines) + " | "
                     + " | ".join(f"{r['cold_ms'][e] / 1e3:.1f}" for e in prepared) + " |")
    print("\n".join(lines))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")
    if options.markdown:
        pathlib.Path(options.markdown).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
