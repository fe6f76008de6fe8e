#!/usr/bin/env python3
"""Checks and measures the cases of this folder on this computer's GPU: see README.txt.

usage: check.py [--quick] [--seconds S]

Values: every result of every case within 1e-4 of the scale of the CPU's; those of cuBLASLt and cuDNN
in TF32 (NAME+tf32) within 1e-2. Sanitizers: memcheck and racecheck over the small cases of our
kernels alone, no report. Times: a run with its inputs in host memory and its results back there, the
same for PyTorch (from and to pinned memory); PyTorch's time without the copies stands beside it. In
f32 our kernels alone, then with NVIDIA's libraries (NAME+libraries), against PyTorch without TF32;
then with TF32 on both sides. Streams: values of the small cases also with one stream and with eight,
times with as many as Tintype takes by itself and with one. Exits with 1 when something is wrong.
"""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
CHECK = HERE / "tintype-check"
TF32_TOLERANCE = "1e-2"
STREAMS = (1, 8)  # beside what Tintype takes by itself
BATCHES = {"network": (1, 32), "small network": (1, 32)}
STEP_BATCHES = {"mlp": 128, "lenet5": 64, "resnet18": 16, "lstm-rows": 64}


def lines_of(command, streams=None):
    """The JSON objects that a command prints, one per line; its exit code and other text."""
    environment = dict(os.environ)
    if streams is not None:
        environment["TINTYPE_CUDA_STREAMS"] = str(streams)
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=HERE,
                          env=environment)
    rows, rest = [], done.stderr
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            rows.append(json.loads(line))
        else:
            rest += line + "\n"
    return rows, done.returncode, rest


def check_values(cases, streams=None):
    rows, how = [], "" if streams is None else f" with {streams} stream{'s' if streams > 1 else ''}"
    for case in cases:
        tolerance = TF32_TOLERANCE if case.get("variant") == "tf32" else "1e-4"
        found, code, rest = lines_of([CHECK, "check", "--tolerance", tolerance,
                                      f"cases/{case['name']}"], streams)
        row = found[-1] if found else {"outcome": "failed", "message": rest.strip() or f"code {code}"}
        if code != 0:
            row["outcome"] = "failed"
        rows.append({**row, "case": case["name"], "kind": case["kind"]})
        print(f"{case['name']}{how}: {row['outcome']} {row.get('message', '')}", flush=True)
    return rows


def sanitize(cases):
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not os.path.exists(tool):
        return {"skipped": "there is no compute-sanitizer"}
    result = {}
    for check in ("memcheck", "racecheck"):
        reports = []
        for case in cases:
            command = [tool, "--tool", check, "--error-exitcode", "99", "--print-limit", "3"]
            if check == "memcheck":
                command += ["--leak-check", "full"]
            _, code, rest = lines_of([*command, CHECK, "check", f"cases/{case['name']}"])
            print(f"{check} {case['name']}: {'clean' if code == 0 else 'code ' + str(code)}", flush=True)
            if code != 0:
                reports.append({"case": case["name"], "code": code, "text": rest[-2000:]})
        result[check] = {"cases": len(cases), "reports": reports}
    return result


# ---- PyTorch, in a process of its own per measurement ------------------------------------------


def torch_network(name, nn):
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512),
                             nn.ReLU(), nn.Linear(512, 10)), (1, 28, 28), 10
    if name == "lenet5":
        return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
                             nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(),
                             nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(),
                             nn.Linear(84, 10)), (1, 28, 28), 10
    if name == "lstm-rows":

        class LastState(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(28, 128, batch_first=True)
                self.output = nn.Linear(128, 10)

            def forward(self, x):
                return self.output(self.lstm(x.flatten(1, 2))[0][:, -1])

        return LastState(), (1, 28, 28), 10
    import torchvision

    more = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    return getattr(torchvision.models, name)(**more), (3, 224, 224), 1000


def median_ms(work, seconds):
    for _ in range(5):
        work()
    times = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(times) < 5:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def torch_worker(name, training, compiled, tf32, batch, seconds):
    import torch

    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    model, shape, classes = torch_network(name, torch.nn)
    if training and name == "resnet18":
        shape = (3, 64, 64)
    model = model.cuda().train(training)
    host = torch.randn(batch, *shape).pin_memory()
    labels = torch.randint(0, classes, (batch,)).pin_memory()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9) if training else None

    def forward(x, y):
        out = model(x)
        return torch.nn.functional.cross_entropy(out, y) if training else out

    run = torch.compile(forward) if compiled else forward

    def on_device(x, y):
        if not training:
            with torch.no_grad():
                return run(x, y)
        optimizer.zero_grad(set_to_none=True)
        loss = run(x, y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def whole():
        out = on_device(host.cuda(non_blocking=True), labels.cuda(non_blocking=True))
        out.cpu()

    x, y = host.cuda(), labels.cuda()

    def alone():
        on_device(x, y)
        torch.cuda.synchronize()

    print(json.dumps({"median_ms": median_ms(whole, seconds), "device_ms": median_ms(alone, seconds),
                      "torch": torch.__version__}))


def torch_times(name, training, tf32, batch, seconds):
    times = {}
    for how in ("eager", "compile"):
        found, code, rest = lines_of([sys.executable, __file__, "--torch", name, how, str(batch),
                                      "train" if training else "infer",
                                      "tf32" if tf32 else "f32", "--seconds", str(seconds)])
        times[how] = found[-1] if found and code == 0 else {"error": rest.strip()[-300:]}
    return times


def measure(cases, seconds):
    try:
        import torch

        peers = torch.cuda.is_available()
    except ImportError:
        peers = False
    rows, known = [], {}
    for case in cases:
        training = case["kind"].endswith("step")
        name, variant = case.get("base", case["name"]), case.get("variant")
        network = name.rsplit("-", 1)[0] if training else name
        for batch in (STEP_BATCHES[network],) if training else BATCHES.get(case["kind"], ()):
            def bench(streams=None):
                found, code, rest = lines_of([CHECK, "bench", "--seconds", str(seconds), "--batch",
                                              str(batch), f"cases/{case['name']}"], streams)
                return found[-1] if found and code == 0 else {
                    "error": (found[-1].get("message", "") if found else rest)[-300:]}

            row = {"case": name, "batch": batch, "training": training,
                   "math": "TF32" if variant == "tf32" else "f32",
                   "who": "with libraries" if variant else "own kernels"}
            row["tintype"] = bench()
            # With the program spread over several streams: what that gains.
            row["one_stream"] = bench(1) if row["tintype"].get("streams", 1) > 1 else row["tintype"]
            # PyTorch's step is one of SGD. Its time in f32 stands beside both of ours.
            key = (network, training, batch, row["math"])
            if peers and not name.endswith("-adam"):
                if key not in known:
                    known[key] = torch_times(network, training, variant == "tf32", batch, seconds)
                row["torch"] = known[key]
            rows.append(row)
            print(row_text(row), flush=True)
    return rows


def milliseconds(entry, key="median_ms"):
    return entry.get(key) if entry else None


def row_text(row):
    torch = row.get("torch", {})
    ours = milliseconds(row["tintype"])
    eager, compiled = (milliseconds(torch.get(how)) for how in ("eager", "compile"))
    device = [t for t in (milliseconds(torch.get(how), "device_ms") for how in ("eager", "compile"))
              if t is not None]
    best = [t for t in (eager, compiled) if t is not None]
    ratio = min(best) / ours if best and ours else None

    def cell(v):
        return f"{v:.3f}" if v is not None else "-"

    what = f"{row['case']}{' (training step)' if row['training'] else ''}"
    return (f"| {what} | {row['batch']} | {row['math']} | {row['who']} | {cell(ours)} "
            f"| {row['tintype'].get('streams', '-')} | {cell(milliseconds(row['one_stream']))} "
            f"| {cell(eager)} | {cell(compiled)} "
            f"| {cell(min(device) if device else None)} | {cell(ratio)} |")


def report(results):
    values = results["values"]
    good = [r for r in values if r["outcome"] == "passed"]
    rounded = [r for r in good if r["case"].endswith("+tf32")]
    exact = [r for r in good if r not in rounded]

    def worst(rows):
        return max((r.get("error") or 0 for r in rows), default=0)

    lines = [f"Tintype for CUDA, {results['date']}", f"device: {json.dumps(results['device'])}", "",
             f"values: {len(good)} of {len(values)} cases within 1e-4 of the CPU's scale (1e-2 in "
             f"TF32); largest error {worst(exact):.2e} ({worst(rounded):.2e} in TF32)"]
    lines += [f"  {r['case']}: {r.get('message', '')}" for r in values if r["outcome"] != "passed"]
    asked, done = (sum(r.get(k, 0) for r in good) for k in ("library_steps", "done"))
    lines.append(f"steps for libraries in them: {asked}, of which libraries did {done}")
    lines += sorted({f"  {r['library_problem']}" for r in good if r.get("library_problem")})
    for streams, rows in results["values_by_streams"].items():
        failed = [r for r in rows if r["outcome"] != "passed"]
        lines.append(f"small cases with TINTYPE_CUDA_STREAMS={streams}: {len(rows) - len(failed)} of "
                     f"{len(rows)} pass")
        lines += [f"  {r['case']}: {r.get('message', '')}" for r in failed]
    for tool, found in results.get("sanitizers", {}).items():
        if tool == "skipped":
            lines.append(f"sanitizers: {found}")
            continue
        lines.append(f"{tool}: {len(found['reports'])} of {found['cases']} cases with reports")
        lines += [f"  {r['case']}: {r['text']}" for r in found["reports"]]
    if results.get("times"):
        lines += ["", "Milliseconds, medians, copies included; ratio: better of PyTorch's two / Tintype.",
                  "", "| case | batch | math | Tintype's products | Tintype | streams | with one stream "
                  "| eager | torch.compile | PyTorch without copies | ratio |",
                  "|---|---|---|---|---|---|---|---|---|---|---|"]
        lines += [row_text(r) for r in results["times"]]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="small cases, values alone")
    parser.add_argument("--seconds", type=float, default=2, help="per measurement")
    parser.add_argument("--torch", nargs=5, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.torch:
        name, how, batch, kind, math = a.torch
        return torch_worker(name, kind == "train", how == "compile", math == "tf32", int(batch),
                            a.seconds)
    bundle = json.loads((HERE / "cases.json").read_text())
    cases = bundle["cases"]
    small = [c for c in cases if c["kind"] not in ("network", "training step")]
    device, code, rest = lines_of([CHECK, "device"])
    if code != 0:
        sys.exit(f"no device: {device[-1]['message'] if device else rest}")
    results = {"date": datetime.date.today().isoformat(), "target": bundle["target"],
               "device": device[-1], "values": check_values(small if a.quick else cases),
               "values_by_streams": {n: check_values(small, n) for n in STREAMS}}
    if not a.quick:
        results["sanitizers"] = sanitize([c for c in small if "variant" not in c])
        results["times"] = measure([c for c in cases if c["kind"] != "operator"], a.seconds)
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    text = report(results)
    (HERE / "results.txt").write_text(text)
    print("\n" + text)
    checked = [*results["values"], *(r for rows in results["values_by_streams"].values() for r in rows)]
    wrong = any(r["outcome"] != "passed" for r in checked) or any(
        found["reports"] for tool, found in results.get("sanitizers", {}).items() if tool != "skipped")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
